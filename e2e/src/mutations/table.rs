//! The mutations: the rules that the promises rest on, each broken in the simplest way. Exact text of the source, so that a
//! change there has to be followed here.

/// A rule, broken.
#[derive(Debug)]
pub struct Mutation {
    /// What is broken, in a few words.
    pub name: &'static str,
    /// How.
    pub replacements: &'static [Replacement],
}

/// A text that stands in a file once, and what stands there instead.
#[derive(Debug)]
pub struct Replacement {
    /// The file, from the repository's top.
    pub file: &'static str,
    /// The text.
    pub from: &'static str,
    /// What stands there instead.
    pub to: &'static str,
}

const RECORD: &str = "src/controller/record.rs";
const RECONCILE: &str = "src/controller/reconcile.rs";
const KEPT: &str = "src/controller/kept.rs";
const DECIDE: &str = "src/lifecycle/decide/mod.rs";
const START: &str = "src/lifecycle/decide/start.rs";
const INTENT: &str = "src/lifecycle/decide/intent.rs";
const LIVE: &str = "src/lifecycle/decide/live.rs";
const DELETION: &str = "src/lifecycle/decide/deletion.rs";
const REPAIR: &str = "src/lifecycle/decide/repair.rs";
const REQUEST: &str = "src/lifecycle/request.rs";
const VERDICT: &str = "src/lifecycle/verdict.rs";

/// The patch of a status, as it is made.
const PATCH: &str = r#"json!({"metadata": {"resourceVersion": object.metadata.resource_version}, "status": status}))"#;

/// All of them.
pub const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "intent without compare-and-swap",
        replacements: &[Replacement {
            file: RECORD,
            from: PATCH,
            to: r#"if status.get("intent").is_some_and(Value::is_object) { json!({"status": status}) } else {
                json!({"metadata": {"resourceVersion": object.metadata.resource_version}, "status": status}) })"#,
        }],
    },
    Mutation {
        name: "record without compare-and-swap",
        replacements: &[Replacement {
            file: RECORD,
            from: PATCH,
            to: r#"if status.get("intent").is_none_or(Value::is_null) { json!({"status": status}) } else {
                json!({"metadata": {"resourceVersion": object.metadata.resource_version}, "status": status}) })"#,
        }],
    },
    Mutation {
        name: "body taken from the spec on a repeated POST",
        replacements: &[Replacement {
            file: INTENT,
            from: "body: intent.body.clone(),",
            to: "body: seen.subject.spec.ok().and_then(crate::lifecycle::request::Request::of)
                .filter(|request| request.job_name.is_none())
                .map_or_else(|| intent.body.clone(), |request| request.text(None)),",
        }],
    },
    Mutation {
        name: "serial not increased",
        replacements: &[Replacement {
            file: START,
            from: "serial.map_or(1, |serial| serial.saturating_add(1))",
            to: "serial.unwrap_or(1)",
        }],
    },
    Mutation {
        name: "call not pinned",
        replacements: &[Replacement {
            file: DECIDE,
            from: "Some(points_to) if same_workspace(points_to, pin) => Ok(pin),",
            to: "Some(points_to) if same_workspace(points_to, pin) || true => Ok(pin),",
        }],
    },
    Mutation {
        name: "a 400 after an ambiguous POST ends the intent",
        replacements: &[Replacement {
            file: INTENT,
            from: "Answer::Refused(error) if memory.surely_unsent() => {",
            to: "Answer::Refused(error) if memory.surely_unsent() || true => {",
        }],
    },
    Mutation {
        name: "cancel cause not written ahead",
        replacements: &[Replacement {
            file: LIVE,
            from: "        return stop::write(seen, cause, now);",
            to: "        return match pin {
            Ok(pin) => canceling(seen, pin, run, cause, now),
            Err(_) => stop::write(seen, cause, now),
        };",
        }],
    },
    Mutation {
        name: "NotFound believed at once",
        replacements: &[Replacement {
            file: LIVE,
            from: "let believed = reading.not_found >= NOT_FOUND_ANSWERS",
            to: "let believed = reading.not_found >= 1 || reading.not_found >= NOT_FOUND_ANSWERS",
        }],
    },
    Mutation {
        name: "release without cancel",
        replacements: &[Replacement {
            file: DELETION,
            from: "Phase::Live(run) | Phase::Backoff(run) => live(seen, run, now),",
            to: "Phase::Live(_) | Phase::Backoff(_) => release(Vec::new()),",
        }],
    },
    Mutation {
        name: "absence from a list taken as the end",
        replacements: &[Replacement {
            file: INTENT,
            from: "        None => look_up(intent, memory, pin, now),
        Some(_) => Step::Wait",
            to: "        None => look_up(intent, memory, pin, now),
        Some([]) => {
            let verdict = Verdict::rejected(Reason::SubmitRejected);
            ended_without_run(seen, seen.status().clone(), verdict, \"no run like it is listed\", now)
        }
        Some(_) => Step::Wait",
        }],
    },
    Mutation {
        name: "repair without its guard",
        replacements: &[Replacement {
            file: REPAIR,
            from: "        if let Some(id) = last.filter(|id| repair.after.as_deref() != Some(id.to_string().as_str())) {
            return acknowledged(seen, run, id, now);
        }",
            to: "        if memory.answer.is_none() {
            return Step::Remote(Effect::Repair { pin: pin.clone(), run, after: last, body: repair.body.clone() });
        }",
        }],
    },
    Mutation {
        name: "key computed by the newest version only",
        replacements: &[Replacement {
            file: REQUEST,
            from: "|stored| compare(versions, stored, &input)",
            to: "|stored| if stored == key.as_str() { Comparison::Same } else {
                match compare(versions, stored, &input) { Comparison::Same => Comparison::Different, other => other }
            }",
        }],
    },
    Mutation {
        name: "key of a shed body",
        replacements: &[Replacement {
            file: REQUEST,
            from: "        let input = request.key_input(rerun.as_deref());",
            to: "        let shed = Map::new();
        let mut input = request.key_input(rerun.as_deref());
        if seen.status().run_id.is_some() {
            input.body = &shed;
        }",
        }],
    },
    Mutation {
        name: "self-delete without preconditions",
        replacements: &[Replacement {
            file: RECONCILE,
            from: "        let metadata = &object.metadata;
        let (uid, version)",
            to: "        let newest = self.objects.get(place).await?.ok_or(StoreError::Gone)?;
        let metadata = &newest.object.metadata;
        let (uid, version)",
        }],
    },
    Mutation {
        name: "intent before finalizer",
        replacements: &[Replacement {
            file: START,
            from: "if !seen.subject.held || seen.subject.start_mark !=",
            to: "if seen.subject.deletion.is_some() && seen.subject.start_mark !=",
        }],
    },
    Mutation {
        name: "unknown state taken as terminal",
        replacements: &[Replacement {
            file: VERDICT,
            from: "LifeCycleState::Terminated | LifeCycleState::Skipped | LifeCycleState::InternalError)
}",
            to: "LifeCycleState::Terminated | LifeCycleState::Skipped | LifeCycleState::InternalError | LifeCycleState::Other(_))
}",
        }],
    },
    Mutation {
        name: "takeover without waiting",
        replacements: &[
            Replacement {
                file: INTENT,
                from: "seen.settings.submit_timeout * TAKEOVER_DEADLINES, now)",
                to: "Duration::from_secs(u64::from(TAKEOVER_DEADLINES)), now)",
            },
            Replacement {
                file: INTENT,
                from: "    if memory.inherited
        && let Some(wait)",
                to: "    if memory.inherited && memory.serial < 0
        && let Some(wait)",
            },
        ],
    },
    Mutation {
        name: "lost wake-up",
        replacements: &[Replacement {
            file: KEPT,
            from: "        object.annotation(annotation).hash(&mut hash);",
            to: "        annotation.hash(&mut hash);",
        }],
    },
];
