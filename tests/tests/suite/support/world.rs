//! The world: one cluster per release for all tests that do not change it, and clusters of their own for those that do.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use cluster::{Cluster, Release};

use crate::support::{Costs, Desk, Failures, Place, Programs, Setup, Test};

static OWN_DESKS: AtomicUsize = AtomicUsize::new(0);

type Shared = Arc<Mutex<Option<Result<Arc<Cluster>, String>>>>;

/// See the module.
pub(crate) struct World {
    programs: Programs,
    shared: HashMap<&'static str, Shared>,
    pub(crate) failures: Failures,
    pub(crate) costs: Costs,
}

impl World {
    /// `one_at_a_time`: no two trials run at once.
    pub(crate) fn new(programs: Programs, one_at_a_time: bool) -> Self {
        let shared = Release::ALL.into_iter().map(|release| (release.name(), Shared::default())).collect();
        Self { programs, shared, failures: Failures::default(), costs: Costs::new(one_at_a_time) }
    }

    /// Runs one test. When it fails, the logs of its cluster are kept and their place is part of the error.
    pub(crate) fn run(&self, release: Release, test: &Test) -> Result<()> {
        match test.place {
            Place::OwnCluster(run) => run(self, release),
            Place::Desk(run) => {
                let cluster = self.shared(release)?;
                let desk = Desk::new(&cluster, release, test.name)?;
                let result = keeping_logs(&cluster, || run(&desk));
                if result.is_err() {
                    desk.cancel_jobs();
                }
                result
            }
        }
    }

    /// Runs a test on a cluster of its own.
    pub(crate) fn with_cluster(
        &self,
        release: Release,
        setup: &Setup,
        run: impl FnOnce(&Desk) -> Result<()>,
    ) -> Result<()> {
        let cluster = setup.start(release, &self.programs)?;
        let desk = Desk::new(&cluster, release, &own_desk(setup))?;
        keeping_logs(&cluster, || run(&desk))
    }

    /// Takes the shared clusters down, all at once.
    pub(crate) fn end(&self) {
        std::thread::scope(|scope| {
            for shared in self.shared.values() {
                scope.spawn(|| shared.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
        });
    }

    /// The cluster of a release, started when it is first asked for.
    fn shared(&self, release: Release) -> Result<Arc<Cluster>> {
        let mut slot = self.shared[release.name()].lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = slot.get_or_insert_with(|| {
            Setup::default().start(release, &self.programs).map(Arc::new).map_err(|error| format!("{error:#}"))
        });
        cluster.clone().map_err(|error| anyhow!("the {release} cluster does not start: {error}"))
    }
}

/// SingularityCE mounts by loop devices: one tells the path of its file, and every mount namespace of this machine sees it.
fn own_desk(setup: &Setup) -> String {
    match setup.singularity {
        true => format!("own{}", OWN_DESKS.fetch_add(1, Ordering::Relaxed)),
        false => "own".into(),
    }
}

fn keeping_logs(cluster: &Cluster, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(anyhow!("{}", text(&*panic))));
    result.with_context(|| match cluster.save_logs() {
        Ok(place) => format!("the cluster's logs are in {}", place.display()),
        Err(error) => format!("the cluster's logs could not be saved: {error:#}"),
    })
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_else(|| "a panic".into())
}
