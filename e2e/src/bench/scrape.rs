//! What `/metrics` says, as numbers. Only what the bench asks for is understood: series with a value, one to a line.

/// One answer of `/metrics`.
#[derive(Debug, Clone, Default)]
pub(super) struct Scrape(Vec<(String, f64)>);

impl Scrape {
    /// Reads the text format: a series and its value in each line that is no comment.
    pub(super) fn read(text: &str) -> Self {
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(value).collect())
    }

    /// The sum of the series of this name that have this text among their labels; 0 if there is none.
    pub(super) fn sum(&self, name: &str, label: &str) -> f64 {
        let of_name =
            |series: &str| series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        self.0.iter().filter(|(series, _)| of_name(series) && series.contains(label)).map(|(_, value)| value).sum()
    }

    /// Whether there is a series of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(series, _)| series.split('{').next() == Some(name))
    }

    /// The upper bound of the bucket that holds this share of what a histogram counted since `before`, in its unit.
    pub(super) fn quantile_since(&self, before: &Self, name: &str, share: f64) -> Option<f64> {
        let counted = |scrape: &Self, bound: &str| scrape.sum(&format!("{name}_bucket"), &format!("le=\"{bound}\""));
        let bounds = self.bounds(name);
        let since = |bound: &str| counted(self, bound) - counted(before, bound);
        let all = since("+Inf");
        let found = bounds.iter().find(|(text, _)| since(text) >= share * all);
        found.filter(|_| all > 0.0).map(|(_, bound)| *bound)
    }

    fn bounds(&self, name: &str) -> Vec<(String, f64)> {
        let bucket = format!("{name}_bucket{{");
        let bound = |series: &str| {
            let text = series.strip_prefix(&bucket)?.split("le=\"").nth(1)?.split('"').next()?;
            let bound = if text == "+Inf" { f64::INFINITY } else { text.parse().ok()? };
            Some((text.to_owned(), bound))
        };
        let mut bounds: Vec<_> = self.0.iter().filter_map(|(series, _)| bound(series)).collect();
        bounds.sort_by(|one, other| one.1.total_cmp(&other.1));
        bounds.dedup();
        bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE a counter\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"2\"} 4\nab_total 5\n\
                        h_bucket{le=\"0.1\",c=\"r\"} 1\nh_bucket{le=\"0.5\",c=\"r\"} 9\nh_bucket{le=\"+Inf\",c=\"r\"} 10\n";

    #[test]
    fn series_of_a_name_are_summed_by_label() {
        let scrape = Scrape::read(TEXT);
        assert!((scrape.sum("a_total", "") - 7.0).abs() < f64::EPSILON);
        assert!((scrape.sum("a_total", "x=\"2\"") - 4.0).abs() < f64::EPSILON);
        assert!(scrape.has("a_total") && !scrape.has("a"));
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let (before, after) = (Scrape::default(), Scrape::read(TEXT));
        assert_eq!(after.quantile_since(&before, "h", 0.9), Some(0.5));
        assert_eq!(after.quantile_since(&before, "h", 0.95), Some(f64::INFINITY));
        assert_eq!(after.quantile_since(&after, "h", 0.5), None);
    }
}
