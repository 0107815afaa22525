//! From a request to its end: what `exec`, `e` and Slurm tasks have in common.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use condatainer_core::config::{Given, Wait};
use condatainer_core::join::container;
use condatainer_core::machine::env_script;
use condatainer_core::machine::facts::{Facts, LayerFacts};
use condatainer_core::machine::survey::Tried;
use condatainer_core::plan::refusal::Refusal;
use condatainer_core::plan::{self, Command, Plan};
use condatainer_core::request::bind::Bind;
use condatainer_core::request::{Request, parse_assignment};
use condatainer_core::run::engine_mounts::abandoned;
use condatainer_core::run::{self, Ended, Forward, Options, apt, inside};
use condatainer_core::start;
use condatainer_images::verbs::with_root;

use crate::say;
use crate::say::failure::{Code, Failure};
use crate::say::{print, report};
use crate::start::args::{DryRun, StartArgs};
use crate::start::waiting::Waiting;
use crate::surroundings::Surroundings;

/// How long an image may be held by somebody who does not say who he is: a step that is just ending, another task's repair, or a
/// writer that is just starting and will have left its note when we look again.
const PATIENCE: Duration = Duration::from_secs(3);
const INTERVAL: Duration = Duration::from_millis(50);

impl Surroundings {
    /// The request that the common options make, without layers.
    pub(crate) fn request(&self, args: &StartArgs) -> Result<Request, Failure> {
        let mut bind = Vec::new();
        for list in &args.bind {
            bind.extend(Bind::parse_list(list, &self.cwd, self.home.as_deref()).map_err(Failure::not_started)?);
        }
        let env = args
            .env
            .iter()
            .map(|text| parse_assignment(text))
            .collect::<Result<_, _>>()
            .map_err(Failure::not_started)?;
        let flag = match (args.fakeroot, args.no_fakeroot) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let base = self.written_base(args.base.as_deref())?;
        Ok(Request {
            base_named: base.as_ref().is_some_and(|base| base.named),
            base: base.map(|base| base.path),
            fakeroot: flag,
            mounts: args.mounts.map(Into::into),
            scratch: args.scratch,
            wait: args.wait,
            bind,
            env,
            workdir: args.pwd.clone(),
            ..Request::default()
        })
    }

    /// Decides about the request here and now, to have it carried out: an image that a killed `overlay with-root` has left to root
    /// goes back to its owner first.
    pub(crate) fn plan(&self, request: &Request, command: Command) -> Result<Plan, Failure> {
        request.layers.iter().for_each(|layer| finish_loan(&layer.path));
        self.decide(request, command, None, |refusal| {
            let freed = refusal.image_in_use().and_then(abandoned::end);
            freed.iter().for_each(|line| say::notice(line));
            freed.is_some()
        })
    }

    /// Decides about the request and carries it out; all of that again where it waits for an image that somebody else uses.
    pub(crate) fn carry_out<T>(
        &self,
        request: &Request,
        command: &Command,
        mut run: impl FnMut(&Plan) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let waiting = Waiting::new(self.wait(request), None);
        waiting.until_free(|| run(&self.plan(request, command.clone())?))
    }

    /// Whether and how long this request waits for images.
    pub(crate) fn wait(&self, request: &Request) -> Wait {
        self.config.wait(request.wait)
    }

    /// Decides about the request, and changes nothing. The image at `lent` is taken for one of root's, which it is going to be.
    pub(crate) fn preview(&self, request: &Request, command: Command, lent: Option<&Path>) -> Result<Plan, Failure> {
        self.decide(request, command, lent, |_| false)
    }

    /// Decides, and once more where a refusal may be momentary or `cure` has removed its reason.
    fn decide(
        &self,
        request: &Request,
        command: Command,
        lent: Option<&Path>,
        cure: impl Fn(&Refusal) -> bool,
    ) -> Result<Plan, Failure> {
        self.tell_overruled(&Given {
            base: request.base.as_deref(),
            fakeroot: request.fakeroot,
            mounts: request.mounts,
            scratch: request.scratch,
            wait: request.wait,
            ..Given::default()
        });
        let request = Request { fakeroot: self.config.fakeroot(request.fakeroot), ..request.clone() };
        let request = &request.on_site_layers(&self.config.policy);
        let deadline = Instant::now() + PATIENCE;
        // Who waits anyway looks again later.
        let waits = self.wait(request) != Wait::No;
        let tried = Tried::default();
        loop {
            let is_lent = |layer: &&mut LayerFacts| Some(layer.path.as_path()) == lent;
            let lend = |facts: &mut Facts| {
                for image in facts.layers.iter_mut().filter(is_lent).filter_map(|layer| layer.image.as_mut()) {
                    image.upper = image.upper.and(Some((0, 0)));
                }
            };
            let facts = start::facts(request, &self.config, &self.env, &tried, lend).map_err(Failure::not_started)?;
            match plan::decide(request, &facts, command.clone()) {
                Err(refusal) if Instant::now() < deadline && cure(&refusal) => {}
                Err(refusal) if refusal.may_be_momentary() && !waits && Instant::now() < deadline => {
                    std::thread::sleep(INTERVAL);
                }
                Err(refusal) => return Err(Failure::in_use(with_way_in(&refusal), refusal.waits_for())),
                Ok(plan) => return Ok(plan),
            }
        }
    }

    /// Carries the request out at a prompt, or shows what would run.
    pub(crate) fn start(
        &self,
        request: Request,
        command: Command,
        dry_run: Option<DryRun>,
    ) -> Result<ExitCode, Failure> {
        match dry_run {
            Some(format) => show(&self.preview(&request, command, None)?, format),
            None => self.carry_out(&request, &command, run_at_prompt),
        }
    }
}

/// What runs: the command, or the user's shell where there is none.
pub(crate) fn command(around: &Surroundings, command: Vec<String>) -> Command {
    if command.is_empty() { Command::Shell(around.env.get("SHELL").map(Into::into)) } else { Command::Argv(command) }
}

/// A refusal, and how to get in where a container of the caller's own is what stands in the way.
fn with_way_in(refusal: &Refusal) -> String {
    match refusal.image_written_to().filter(|image| container::can_be_joined(image)) {
        Some(image) => format!("{refusal}, or enter it: condatainer join {}", image.display()),
        None => refusal.to_string(),
    }
}

fn finish_loan(image: &Path) {
    let shown = image.display();
    match with_root::finish(image) {
        Some(Ok(owner)) => say::notice(&format!(
            "{shown}: an 'overlay with-root' was killed here: given back to {} first",
            report::whose(owner)
        )),
        Some(Err(error)) => say::detail(&format!("it is still root's after a killed 'overlay with-root': {error}")),
        None => {}
    }
}

/// Prints the plan.
pub(crate) fn show(plan: &Plan, format: DryRun) -> Result<ExitCode, Failure> {
    match format {
        DryRun::Text => print::text(&plan.to_shell())?,
        DryRun::Json => print::json(plan)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Carries the plan out.
pub(crate) fn run(plan: &Plan, forward: Forward, step: Option<&str>) -> Result<Ended, Failure> {
    say::detail(&plan.to_shell());
    let mut options = Options { forward, step, say: &mut |line| say::notice(line) };
    let ended = run::run(plan, &mut options).map_err(Failure::of_run)?;
    apt::advice(plan, &ended).iter().for_each(|line| say::notice(line));
    Ok(ended)
}

/// Carries the plan out at a prompt: a signal becomes 128 + its number.
pub(crate) fn run_at_prompt(plan: &Plan) -> Result<ExitCode, Failure> {
    if std::io::stderr().is_terminal() {
        let (words, remarks) = match &plan.command {
            Command::Argv(words) => (Some(words.as_slice()), &[][..]),
            Command::Shell(_) => (None, plan.remarks.as_slice()),
        };
        let advice = env_script::advice(plan.layers(), &plan.path, words);
        advice.iter().chain(remarks).for_each(|line| say::notice(line));
    }
    let ended = match plan.command {
        Command::Shell(_) => run(&inside::for_shell(plan), Forward::FromProcesses, None)?,
        Command::Argv(_) => run(plan, Forward::FromProcesses, None)?,
    };
    match ended {
        Ended::Signaled(signal) => Ok(exit_code(128 + signal)),
        Ended::Exited(code) => Ok(exit_code(code)),
        other => Err(not_run(plan, &other)),
    }
}

/// Whoever puts condatainer into a container means what it does outside.
pub(crate) const NOT_INSIDE: &str =
    "condatainer: no such command in the container: it starts containers, and is used outside of them";

/// The failure that says why the command itself did not run.
pub(crate) fn not_run(plan: &Plan, ended: &Ended) -> Failure {
    let name = match &plan.command {
        Command::Argv(argv) => argv.first().cloned().unwrap_or_default(),
        Command::Shell(_) => "shell".into(),
    };
    match ended {
        Ended::NotExecutable(why) => {
            Failure::new(Code::NotExecutable, format!("{name}: cannot be executed in the container: {why}"))
        }
        _ if name == "condatainer" => Failure::new(Code::NotFound, NOT_INSIDE),
        _ => Failure::new(Code::NotFound, format!("{name}: no such command in the container")),
    }
}

pub(crate) fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}
