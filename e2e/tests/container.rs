//! A control plane in a container ends with the process that started it. Only where `E2E_CONTAINER_IMAGE` names an image.
#![cfg(feature = "testcontainers")]
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "the helpers of tests may fail as the tests do")]

use std::{
    env,
    io::{BufRead, BufReader, Write, stdout},
    process::{Child, Command, Stdio},
};

use e2e::{cluster::Own, wait::eventually};

/// What the other process says when its container is ready, before its name.
const READY: &str = "container: ";

fn has_image() -> bool {
    env::var_os("E2E_CONTAINER_IMAGE").is_some_and(|image| !image.is_empty())
}

/// The containers of this name, running or not.
fn containers(name: &str) -> String {
    let filter = format!("name={name}");
    let list = Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &filter]).output().unwrap();
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    String::from_utf8(list.stdout).unwrap()
}

/// This test binary once more, with a container of its own; it ends only when it is told to.
struct Holder {
    process: Child,
    container: String,
}

impl Holder {
    fn start() -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "holds_a_container", "--ignored", "--nocapture"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let container = lines.find_map(|line| Some(line.split_once(READY)?.1.to_owned()));
        let container = container.expect("it is ready before it ends");
        assert_ne!(containers(&container), "", "it is there");
        Self { process, container }
    }

    async fn leaves_nothing(&self) {
        eventually("the container to be gone", async || match containers(&self.container).as_str() {
            "" => Ok(()),
            left => Err(format!("{left} is there")),
        })
        .await;
    }
}

/// A test that fails half-way leaves nothing behind either.
impl Drop for Holder {
    fn drop(&mut self) {
        // It can only fail for a process that was waited for already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "the tests beside it start it, in a process of its own"]
async fn holds_a_container() {
    let Own::Container(container) = Own::start().await.unwrap() else { panic!("E2E_CONTAINER_IMAGE is not set") };
    writeln!(stdout(), "{READY}{}", container.name()).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_process_leaves_no_container_behind() {
    if !has_image() {
        return;
    }
    let mut holder = Holder::start();
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    holder.leaves_nothing().await;
}

#[tokio::test]
async fn a_ctrl_c_leaves_no_container_behind() {
    if !has_image() {
        return;
    }
    let mut holder = Holder::start();
    let interrupt =
        Command::new("sh").args(["-c", "kill -s INT $1", "kill", &holder.process.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert!(!holder.process.wait().unwrap().success(), "nothing of ours handles it");
    holder.leaves_nothing().await;
}
