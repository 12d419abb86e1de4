//! `runs/list` of live runs, as sweeps ask for it: it lags like everything else, and leaves out whatever looks strange.

use std::hash::{DefaultHasher, Hash, Hasher};

use databricks_run_operator::databricks::Whereabouts;
use databricks_run_operator::databricks::error::Error;
use databricks_run_operator::databricks::ids::RunId;
use databricks_run_operator::poller::{Page, Part, Row};

use super::lag;
use crate::simulation::clock::epoch_millis;
use crate::simulation::world::World;

/// Rows of a page: few, or no world would ever see a second one.
const ROWS: usize = 2;
/// The life-cycle states that are listed.
const LISTED: [&str; 4] = ["QUEUED", "PENDING", "RUNNING", "TERMINATING"];

/// A page, newest first. Its token is the number of rows before the next.
#[expect(clippy::unnecessary_wraps, reason = "the shape of every answer")]
pub(in crate::simulation) fn list_live(world: &mut World, host: usize, part: &Part) -> Result<Page, Error> {
    let then = world.now.saturating_sub(lag(world, 60));
    let (from, to) = (part.start_time_from.unwrap_or(0), part.start_time_to.unwrap_or(i64::MAX));
    let mut rows = Vec::new();
    for run in world.hosts[host].runs.values().filter(|run| run.deleted.is_none() && run.started <= then) {
        let (start_time, (_, face)) = (epoch_millis(run.started), run.face_at(then));
        if (from..=to).contains(&start_time) && face.word.is_none() && LISTED.contains(&face.life) {
            let mut looks = DefaultHasher::new();
            (face.life, face.status, face.executes).hash(&mut looks);
            let whereabouts = Whereabouts::of_run(&run.described(then, false));
            rows.push(Row { run: RunId(run.id), start_time, looks: looks.finish(), whereabouts });
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse((row.start_time, row.run)));
    let skipped = part.page_token.as_deref().and_then(|token| token.parse().ok()).unwrap_or(0);
    let next_page_token = (rows.len() > skipped + ROWS).then(|| (skipped + ROWS).to_string());
    let rows: Vec<Row> = rows.into_iter().skip(skipped).take(ROWS).collect();
    world.tell("Databricks", || {
        format!("lists the live runs {:?}", rows.iter().map(|row| row.run.0).collect::<Vec<_>>())
    });
    Ok(Page { rows, next_page_token })
}
