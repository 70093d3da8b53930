//! Deployments, Jobs and CronJobs from flags.

use super::{bare, metadata};
use crate::{
    args::{CreateCronJob, CreateDeployment, CreateJob},
    commands::Context,
};
use anyhow::{Result, bail};
use serde_json::{Value, json};

/// The Deployment that `kubectl create deployment` makes.
pub(super) fn deployment(args: &CreateDeployment) -> Value {
    let name = &args.named.name;
    let containers: Vec<Value> = args.image.iter().map(|image| container(args, image)).collect();
    let mut deployment = bare("apps/v1", "Deployment", &args.named);
    deployment["metadata"]["labels"] = json!({"app": name});
    deployment["spec"] = json!({
        "replicas": args.replicas,
        "selector": {"matchLabels": {"app": name}},
        "strategy": {},
        "template": {"metadata": {"creationTimestamp": null, "labels": {"app": name}}, "spec": {"containers": containers}},
    });
    deployment["status"] = json!({});
    deployment
}

fn container(args: &CreateDeployment, image: &str) -> Value {
    let mut container = json!({"name": container_name(image), "image": image, "resources": {}});
    if let Some(port) = args.port {
        container["ports"] = json!([{ "containerPort": port }]);
    }
    if !args.command.is_empty() {
        container["command"] = json!(args.command);
    }
    container
}

/// The last part of an image's name, without tag and digest, as a name.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let bare = last.split(['@', ':']).next().unwrap_or(last);
    bare.to_lowercase().replace(['_', '.'], "-")
}

/// A Job of an image, or from the template of a CronJob.
pub(super) async fn job(context: &Context, args: &CreateJob) -> Result<Value> {
    let mut job = bare("batch/v1", "Job", &args.named);
    match (&args.image, &args.from) {
        (Some(image), None) => {
            job["spec"] = json!({"template": template(&args.named.name, image, &args.command, "Never")});
        }
        (None, Some(from)) => from_cron_job(context, from, &mut job).await?,
        (None, None) => bail!("either --image or --from must be specified"),
        (Some(_), Some(_)) => bail!("either --image or --from must be specified"),
    }
    job["status"] = json!({});
    Ok(job)
}

async fn from_cron_job(context: &Context, from: &str, job: &mut Value) -> Result<()> {
    let Some(("cronjob" | "cronjobs" | "cj" | "cronjob.batch" | "cronjobs.batch", name)) = from.split_once('/') else {
        bail!("from must be an existing cronjob");
    };
    let path = format!("/apis/batch/v1/namespaces/{}/cronjobs/{name}", context.namespace());
    let cron = context.rest.get(&path).await?;
    let template = &cron["spec"]["jobTemplate"];
    job["spec"] = template["spec"].clone();
    job["metadata"]["labels"] = template["metadata"]["labels"].clone();
    job["metadata"]["annotations"] = json!({"cronjob.kubernetes.io/instantiate": "manual"});
    if let Some(annotations) = template["metadata"]["annotations"].as_object() {
        annotations.iter().for_each(|(key, value)| job["metadata"]["annotations"][key] = value.clone());
    }
    job["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": name,
        "uid": cron["metadata"]["uid"], "controller": true}]);
    Ok(())
}

fn template(name: &str, image: &str, command: &[String], restart: &str) -> Value {
    let mut container = json!({"name": name, "image": image, "resources": {}});
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    json!({"metadata": {"creationTimestamp": null}, "spec": {"containers": [container], "restartPolicy": restart}})
}

pub(super) fn cron_job(args: &CreateCronJob) -> Value {
    let mut cron = bare("batch/v1", "CronJob", &args.named);
    let template = template(&args.named.name, &args.image, &args.command, &args.restart);
    cron["spec"] = json!({
        "schedule": args.schedule,
        "jobTemplate": {"metadata": metadata(&args.named), "spec": {"template": template}},
    });
    cron["status"] = json!({});
    cron
}

#[cfg(test)]
mod tests {
    use super::{super::tests::made, *};

    #[test]
    fn a_container_is_named_after_its_image() {
        assert_eq!(container_name("localhost:5000/kiamol/ch02-hello:v1@sha256:abc"), "ch02-hello");
    }

    #[test]
    fn workloads_have_templates() {
        let deployment = made("create deployment web --image nginx --replicas 3 --port 80 -- run it").expect("valid");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(deployment["spec"]["replicas"], 3);
        assert_eq!(
            *container,
            json!({"name": "nginx", "image": "nginx", "resources": {}, "ports": [{"containerPort": 80}], "command": ["run", "it"]})
        );
        let cron = made("create cronjob tick --image busy --schedule @hourly").expect("valid");
        assert_eq!(cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"], "OnFailure");
    }
}
