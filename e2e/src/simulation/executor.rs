//! The executor: one thread, no runtime, no real clock. It takes what happens next, polls the tasks that it wakes, and
//! carries out what the world orders: tasks begin, processes begin, die and go on. The same seed polls the same tasks in
//! the same order.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use databricks_run_operator::controller::Reconciler;
use databricks_run_operator::telemetry::Metrics;

use super::ports::Port;
use super::process::{self, ProcessId, Work};
use super::world::{Happening, Shared};

/// A task's number.
pub(super) type TaskId = u64;

/// The production reconciler, over this world's ports.
type Operator = Reconciler<Port, Port, Port>;

/// What the world asks of the executor.
pub(super) enum Order {
    /// A process begins.
    Begin(ProcessId),
    /// A process is told to end: what is under way is finished.
    Stop(ProcessId),
    /// A process dies, with all its memory and whatever it was doing.
    Kill(ProcessId),
    /// A task of a process begins.
    Spawn(ProcessId, Work),
    /// A task goes on now.
    Poll(TaskId),
}

struct Task {
    process: ProcessId,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    waker: Waker,
}

/// Rung when something inside an operator wakes a task, such as its own locks.
struct Bell {
    task: TaskId,
    rung: Arc<Mutex<Vec<TaskId>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).push(self.task);
    }
}

pub(super) struct Executor {
    world: Shared,
    tasks: BTreeMap<TaskId, Task>,
    operators: BTreeMap<ProcessId, Arc<Operator>>,
    rung: Arc<Mutex<Vec<TaskId>>>,
    last_task: TaskId,
    metrics: Arc<Metrics>,
}

impl Executor {
    /// `metrics` is only counted into; worlds may share it.
    pub(super) fn new(world: Shared, metrics: Arc<Metrics>) -> Self {
        let (tasks, operators) = (BTreeMap::new(), BTreeMap::new());
        Self { world, tasks, operators, rung: Arc::default(), last_task: 0, metrics }
    }

    /// Lets things happen until then, or until a promise is broken.
    pub(super) fn run(&mut self, until: Duration) {
        self.settle();
        loop {
            let next = {
                let mut world = self.world.lock();
                if world.broken.is_some() {
                    return;
                }
                world.next(until)
            };
            match next {
                None => break,
                Some(Happening::Wake(task)) => self.poll(task),
                Some(Happening::Do(deed)) => deed(&mut self.world.lock()),
            }
            self.settle();
        }
        self.world.lock().now = until;
    }

    /// Carries out orders and polls woken tasks until there are none.
    fn settle(&mut self) {
        loop {
            let orders = std::mem::take(&mut self.world.lock().orders);
            let rung = std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner));
            if orders.is_empty() && rung.is_empty() {
                return;
            }
            for order in orders {
                self.obey(order);
            }
            for task in rung {
                self.poll(task);
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Begin(process) => self.begin(process),
            Order::Stop(process) => {
                if let Some(operator) = self.operators.get(&process) {
                    operator.stop();
                }
            }
            Order::Kill(process) => {
                self.operators.remove(&process);
                self.tasks.retain(|_, task| task.process != process);
            }
            Order::Spawn(process, work) => self.spawn(process, work),
            Order::Poll(task) => self.poll(task),
        }
    }

    fn begin(&mut self, process: ProcessId) {
        let (settings, lead) = {
            let world = self.world.lock();
            let process = &world.processes[process];
            (process.settings.clone(), process.lead.clone())
        };
        let port = Port { world: self.world.clone(), process };
        let operator = Reconciler::new(port.clone(), port.clone(), port, settings, lead, Arc::clone(&self.metrics));
        self.operators.insert(process, Arc::new(operator));
    }

    fn spawn(&mut self, process: ProcessId, work: Work) {
        let Some(operator) = self.operators.get(&process).cloned() else { return };
        let port = Port { world: self.world.clone(), process };
        let future: Pin<Box<dyn Future<Output = ()> + Send>> = match work {
            Work::Look(place, object) => Box::pin(async move {
                let next = operator.reconcile(&place, &object).await;
                process::looked(&mut port.world.lock(), process, &place, next);
            }),
            Work::Sweep => Box::pin(async move {
                let mut remembered = operator.remembered();
                remembered.sort();
                for place in remembered {
                    let is_there = port.world.lock().processes[process].view.get(&place).is_some();
                    if !is_there {
                        operator.gone(&place).await;
                    }
                }
                let known: Vec<_> = {
                    let world = port.world.lock();
                    let objects = world.processes[process].view.objects();
                    objects.map(|(place, object)| (place.clone(), Arc::clone(object))).collect()
                };
                for (place, kept) in &known {
                    operator.caught_up(place, kept);
                }
                let overlooked: Vec<_> =
                    known.into_iter().filter(|(place, kept)| operator.is_overlooked(place, kept)).collect();
                let mut world = port.world.lock();
                let now = world.now;
                for (place, _) in overlooked {
                    process::trigger(&mut world, process, &place, now);
                }
                process::swept(&mut world, process);
            }),
            Work::Read(line, ask) => Box::pin(async move { port.read(line, ask).await }),
            Work::List(line, ask) => Box::pin(async move { port.list(line, ask).await }),
        };
        self.last_task += 1;
        let task = self.last_task;
        let waker = Waker::from(Arc::new(Bell { task, rung: Arc::clone(&self.rung) }));
        self.tasks.insert(task, Task { process, future, waker });
        self.poll(task);
    }

    /// Polls a task, unless its process stands still: then it goes on when the process does.
    fn poll(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        {
            let mut world = self.world.lock();
            if world.processes[task.process].stands_still() {
                world.processes[task.process].kept_waiting.push(id);
                return;
            }
            world.current = Some(id);
        }
        let poll = task.future.as_mut().poll(&mut Context::from_waker(&task.waker));
        self.world.lock().current = None;
        if poll == Poll::Ready(()) {
            self.tasks.remove(&id);
        }
    }
}
