//! `wk ctr`: containers as the runtimes see them, below Kubernetes. Asks the
//! control socket of the local server.

use crate::{
    args::{Ctr, CtrPs, Global},
    client,
    control::{client::Control, protocol::Container},
    output::{self, table::Table},
};
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use std::{io::Write, process::ExitCode, time::Duration};
use wk_platform::Clock;

/// Characters of an id that lists show, as crictl does: enough to tell any two apart.
const ID_SHOWN: usize = 13;

/// Between the two measurements that a share of a CPU needs, as crictl's.
const STATS_INTERVAL: Duration = Duration::from_secs(1);

const POD_NAME: &str = wk_kubelet::labels::POD_NAME;
const POD_NAMESPACE: &str = wk_kubelet::labels::POD_NAMESPACE;

pub(super) async fn run(global: &Global, command: Ctr) -> Result<ExitCode> {
    let control = Control::new(&client::data_dir(global)?);
    match command {
        Ctr::Ps(args) => list(&control, &args).await?,
        Ctr::Rm { ids, force } => return remove(&control, &ids, force).await,
        Ctr::Inspect { ids } => inspect(&control, &ids).await?,
        Ctr::Stats { ids } => stats(&control, &ids).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(control: &Control, args: &CtrPs) -> Result<()> {
    let selected = select(control.containers().await?, args);
    if args.quiet {
        let mut out = output::stdout();
        for container in &selected {
            writeln!(out, "{}", container.id)?;
        }
        return Ok(());
    }
    let document = || serde_json::json!({ "containers": selected });
    match args.output.as_deref() {
        None | Some("table") => {
            write!(output::stdout(), "{}", table(&selected, Clock::system().now(), args.no_trunc))?;
        }
        Some("json") => output::line(output::json_text(&document())?)?,
        Some("yaml") => write!(output::stdout(), "{}", output::yaml::to_string(&document()))?,
        Some(other) => bail!("unknown output format {other:?}; allowed formats are: json, table, yaml"),
    }
    Ok(())
}

/// What is asked for, newest first as crictl lists them.
fn select(mut containers: Vec<Container>, args: &CtrPs) -> Vec<Container> {
    let has_label = |container: &Container, label: &String| match label.split_once('=') {
        Some((key, value)) => container.labels.get(key).is_some_and(|found| found == value),
        None => container.labels.contains_key(label),
    };
    containers.retain(|container| {
        (args.all || container.is_running())
            && args.node.as_ref().is_none_or(|node| *node == container.node)
            && args.label.iter().all(|label| has_label(container, label))
    });
    containers.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
    containers
}

fn table(containers: &[Container], now: Timestamp, whole_ids: bool) -> String {
    let headings =
        ["CONTAINER ID", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE", "NODE"];
    let id = |id: &str| if whole_ids { id.to_owned() } else { short(id).to_owned() };
    let row = |container: &Container| {
        let label = |key: &str| container.labels.get(key).cloned().unwrap_or_else(|| "unknown".to_owned());
        vec![
            id(&container.id),
            container.image.image.clone(),
            ago(container.created_at, now),
            container.state.word().to_owned(),
            container.metadata.name.clone(),
            container.metadata.attempt.to_string(),
            id(&container.pod_sandbox_id),
            label(POD_NAME),
            label(POD_NAMESPACE),
            container.node.clone(),
        ]
    };
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    rows.extend(containers.iter().map(row));
    Table::default().layout(&rows)
}

fn short(id: &str) -> &str {
    id.get(..ID_SHOWN).unwrap_or(id)
}

/// `3 minutes ago`, as docker and crictl say it (`docker/go-units`, `HumanDuration`).
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let text = match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..48) => format!("{hours} hours"),
        (.., 48..336) => format!("{} days", hours / 24),
        (.., 336..1440) => format!("{} weeks", hours / 24 / 7),
        (.., 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    };
    format!("{text} ago")
}

/// Removes what it can and says what it could not.
async fn remove(control: &Control, ids: &[String], force: bool) -> Result<ExitCode> {
    let all = control.containers().await?;
    let mut code = ExitCode::SUCCESS;
    for given in ids {
        let removed = match resolve(&all, given) {
            Ok(container) => control.remove(&container.id, force).await.map(|()| container.id.as_str()),
            Err(error) => Err(error),
        };
        match removed {
            Ok(id) => output::line(id)?,
            Err(error) => {
                writeln!(std::io::stderr(), "error: {error:#}")?;
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// The container with this id, or the only one whose id begins so.
fn resolve<'a>(containers: &'a [Container], given: &str) -> Result<&'a Container> {
    if given.is_empty() {
        bail!("an id is empty");
    }
    let matching: Vec<_> = containers.iter().filter(|container| container.id.starts_with(given)).collect();
    match matching.as_slice() {
        [one] => Ok(one),
        [] => bail!("no such container: {given}"),
        many => bail!("{} containers have an id that begins with {given}; give more of it", many.len()),
    }
}

async fn inspect(control: &Control, ids: &[String]) -> Result<()> {
    let all = control.containers().await?;
    for given in ids {
        let document = serde_json::json!({ "status": resolve(&all, given)? });
        output::line(output::json_text(&document)?)?;
    }
    Ok(())
}

async fn stats(control: &Control, ids: &[String]) -> Result<()> {
    let all = control.containers().await?;
    let chosen: Vec<&Container> = if ids.is_empty() {
        all.iter().filter(|container| container.is_running()).collect()
    } else {
        ids.iter().map(|id| resolve(&all, id)).collect::<Result<_>>()?
    };
    let mut first = Vec::new();
    for container in &chosen {
        first.push(control.stats(&container.id).await?);
    }
    if !chosen.is_empty() {
        tokio::time::sleep(STATS_INTERVAL).await;
    }
    let mut rows = vec![["CONTAINER ID", "NAME", "POD", "CPU %", "MEM"].map(str::to_owned).to_vec()];
    for (container, before) in chosen.into_iter().zip(first) {
        // One that has gone meanwhile uses nothing.
        let (Some(before), Some(after)) = (before, control.stats(&container.id).await?) else { continue };
        let wall = after.at.duration_since(before.at).as_secs_f64();
        let cpu = after.cpu_nanos.saturating_sub(before.cpu_nanos) as f64 / 1e9;
        rows.push(vec![
            short(&container.id).to_owned(),
            container.metadata.name.clone(),
            container.labels.get(POD_NAME).cloned().unwrap_or_default(),
            format!("{:.2}", if wall > 0.0 { 100.0 * cpu / wall } else { 0.0 }),
            output::size(after.memory_bytes),
        ]);
    }
    write!(output::stdout(), "{}", Table::default().layout(&rows)).context("print")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{Image, Metadata, State};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn container(id: &str, pod: &str, state: State, created: i64) -> Container {
        Container {
            id: id.to_owned(),
            pod_sandbox_id: format!("{pod}-sandbox-0123456789"),
            metadata: Metadata { name: "web".to_owned(), attempt: 2 },
            image: Image { image: "me/web:latest".to_owned() },
            image_ref: "sha256:00".to_owned(),
            state,
            created_at: at(created),
            labels: [(POD_NAME.to_owned(), pod.to_owned()), (POD_NAMESPACE.to_owned(), "default".to_owned())].into(),
            annotations: [].into(),
            log_path: String::new(),
            node: "node-1".to_owned(),
        }
    }

    fn running() -> State {
        State::Running { started_at: at(1) }
    }

    fn args() -> CtrPs {
        let (label, node, output) = (Vec::new(), None, None);
        CtrPs { all: false, label, node, quiet: false, no_trunc: false, output }
    }

    fn ids(containers: &[Container]) -> Vec<&str> {
        containers.iter().map(|container| container.id.as_str()).collect()
    }

    #[test]
    fn the_newest_running_ones_are_listed_first() {
        let all = || {
            let (created, mut other) = (State::Created, container("d", "c", running(), 9));
            other.node = "node-2".to_owned();
            vec![
                container("a", "a", running(), 1),
                container("b", "b", running(), 5),
                container("c", "a", created, 7),
                other,
            ]
        };
        assert_eq!(ids(&select(all(), &args())), ["d", "b", "a"]);
        assert_eq!(ids(&select(all(), &CtrPs { all: true, ..args() })), ["d", "c", "b", "a"]);
        assert_eq!(ids(&select(all(), &CtrPs { node: Some("node-2".to_owned()), ..args() })), ["d"]);
        let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        let of_a = CtrPs { all: true, label: labels(&["io.kubernetes.pod.name=a", POD_NAMESPACE]), ..args() };
        assert_eq!(ids(&select(all(), &of_a)), ["c", "a"]);
        assert!(select(all(), &CtrPs { label: labels(&["none"]), ..args() }).is_empty());
    }

    #[test]
    fn a_list_looks_as_crictls() {
        let shown = table(&[container("0123456789abcdef", "web-0", running(), 0)], at(130), false);
        expect_test::expect![[r"
            CONTAINER ID    IMAGE           CREATED         STATE     NAME   ATTEMPT   POD ID          POD     NAMESPACE   NODE
            0123456789abc   me/web:latest   2 minutes ago   Running   web    2         web-0-sandbox   web-0   default     node-1
        "]]
        .assert_eq(&shown);
    }

    #[test]
    fn an_id_may_be_cut_short_while_it_is_the_only_one() {
        let all = [container("abc1", "a", running(), 0), container("abd2", "b", running(), 0)];
        assert_eq!(resolve(&all, "abc").expect("one").id, "abc1");
        let refused = |given| resolve(&all, given).expect_err("not one").to_string();
        assert_eq!(refused("ab"), "2 containers have an id that begins with ab; give more of it");
        assert_eq!(refused("x"), "no such container: x");
        assert_eq!(refused(""), "an id is empty");
    }

    #[test]
    fn ages_read_as_dockers() {
        let said = |seconds| ago(at(0), at(seconds));
        assert_eq!(said(0), "Less than a second ago");
        assert_eq!(
            [said(59), said(60), said(119), said(120)].join(", "),
            "59 seconds ago, About a minute ago, About a minute ago, 2 minutes ago"
        );
        assert_eq!([said(3600), said(7200), said(3 * 86400)].join(", "), "About an hour ago, 2 hours ago, 3 days ago");
    }
}
