//! What a job has been given, as variables: NCPUS, MEM and their like, as the original CondaTainer sets them.

use std::collections::HashMap;

/// Variables for a command inside a job; none outside of one.
///
/// `NCPUS` and `OMP_NUM_THREADS` are processors per task, `MEM` and `MEM_GB` memory per task, in MiB and GiB. An
/// `OMP_NUM_THREADS` of the user's own stays.
#[must_use]
pub(crate) fn variables(env: &HashMap<String, String>) -> Vec<(String, String)> {
    let number = |name: &str| env.get(name).and_then(|value| value.parse::<u64>().ok()).filter(|value| *value > 0);
    if !env.contains_key("SLURM_JOB_ID") {
        return Vec::new();
    }
    let nodes = number("SLURM_JOB_NUM_NODES").unwrap_or(1);
    let tasks = number("SLURM_NTASKS");
    let even = tasks.filter(|tasks| nodes > 1 && tasks % nodes == 0).map(|tasks| tasks / nodes);
    let tasks_per_node = number("SLURM_NTASKS_PER_NODE").or(even);
    let cpus = number("SLURM_CPUS_PER_TASK").unwrap_or(1);
    let per_cpu = number("SLURM_MEM_PER_CPU").map(|mem| mem * cpus);
    let memory = per_cpu.or_else(|| number("SLURM_MEM_PER_NODE").map(|mem| mem / tasks_per_node.unwrap_or(1)));

    let mut set =
        vec![("NNODES", nodes), ("NTASKS", tasks.unwrap_or(nodes * tasks_per_node.unwrap_or(1))), ("NCPUS", cpus)];
    if threads_are_ours(env) {
        set.push(("OMP_NUM_THREADS", cpus));
    }
    set.extend(tasks_per_node.map(|tasks| ("NTASKS_PER_NODE", tasks)));
    set.extend(memory.into_iter().flat_map(|mem| [("MEM", mem), ("MEM_GB", mem / 1024)]));
    set.into_iter().map(|(name, value)| (name.into(), value.to_string())).collect()
}

/// Nobody has set the number of threads, or a container around this one has.
fn threads_are_ours(env: &HashMap<String, String>) -> bool {
    match env.get("OMP_NUM_THREADS") {
        None => true,
        Some(threads) => env.contains_key("IN_CONDATAINER") && env.get("NCPUS") == Some(threads),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, &str)]) -> String {
        let env = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        variables(&env).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_in_a_job() {
        assert_eq!(told(&[("SLURM_CPUS_PER_TASK", "4")]), "");
        assert_eq!(told(&[("SLURM_JOB_ID", "1")]), "NNODES=1 NTASKS=1 NCPUS=1 OMP_NUM_THREADS=1");
    }

    #[test]
    fn per_task() {
        let job =
            [("SLURM_JOB_ID", "1"), ("SLURM_JOB_NUM_NODES", "2"), ("SLURM_NTASKS", "8"), ("SLURM_CPUS_PER_TASK", "4")];
        let with = |more: &[(&str, &str)]| told(&[&job, more].concat());
        let common = "NNODES=2 NTASKS=8 NCPUS=4 OMP_NUM_THREADS=4 NTASKS_PER_NODE=4";
        assert_eq!(with(&[("SLURM_MEM_PER_NODE", "8192")]), format!("{common} MEM=2048 MEM_GB=2"));
        assert_eq!(with(&[("SLURM_MEM_PER_CPU", "1024")]), format!("{common} MEM=4096 MEM_GB=4"));
        assert_eq!(with(&[("SLURM_MEM_PER_NODE", "0")]), common);
    }

    #[test]
    fn threads_of_the_users_own_stay() {
        let set =
            |pairs: &[(&str, &str)]| told(&[&[("SLURM_JOB_ID", "1"), ("SLURM_CPUS_PER_TASK", "4")], pairs].concat());
        assert!(!set(&[("OMP_NUM_THREADS", "2")]).contains("OMP"));
        assert!(
            set(&[("OMP_NUM_THREADS", "1"), ("NCPUS", "1"), ("IN_CONDATAINER", "1")]).contains("OMP_NUM_THREADS=4")
        );
    }
}
