//! What was typed after `create`.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use super::{Change, Files, Validate};
use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

/// `wk create`
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Create {
    /// What
    #[command(subcommand)]
    pub kind: Option<CreateKind>,
    /// Manifests; fails when an object exists
    #[command(flatten)]
    pub files: Files,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// Keep the manifest in the annotation that `wk apply` compares with
    #[arg(long)]
    pub save_config: bool,
    /// Only manifests with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// How strictly
    #[command(flatten)]
    pub validate: Validate,
    /// POST the file to this path of the server
    #[arg(long, value_name = "PATH")]
    pub raw: Option<String>,
}

/// What to create.
#[derive(Debug, Subcommand)]
pub enum CreateKind {
    /// A Deployment
    #[command(alias = "deploy")]
    Deployment(CreateDeployment),
    /// A Namespace
    #[command(alias = "ns")]
    Namespace(CreateNamed),
    /// A ConfigMap
    #[command(alias = "cm")]
    Configmap(CreateData),
    /// A Secret
    #[command(subcommand)]
    Secret(CreateSecret),
    /// A Service
    #[command(subcommand, alias = "svc")]
    Service(CreateService),
    /// A ServiceAccount
    #[command(alias = "sa")]
    Serviceaccount(CreateNamed),
    /// A Job
    Job(CreateJob),
    /// A CronJob
    #[command(alias = "cj")]
    Cronjob(CreateCronJob),
    /// A Role
    Role(CreateRole),
    /// A ClusterRole
    Clusterrole(CreateClusterRole),
    /// A RoleBinding
    Rolebinding(CreateRoleBinding),
    /// A ClusterRoleBinding
    Clusterrolebinding(CreateClusterRoleBinding),
    /// A token of a ServiceAccount
    Token(CreateToken),
    /// A PodDisruptionBudget
    #[command(alias = "pdb")]
    Poddisruptionbudget(CreateBudget),
    /// A PriorityClass
    #[command(alias = "pc")]
    Priorityclass(CreatePriorityClass),
    /// An Ingress
    #[command(alias = "ing")]
    Ingress(CreateIngress),
    /// A ResourceQuota
    #[command(alias = "resourcequota")]
    Quota(CreateQuota),
}

/// A name, and how.
#[derive(Debug, ClapArgs)]
pub struct CreateNamed {
    /// Name
    pub name: String,
    /// How
    #[command(flatten)]
    pub change: Change,
}

/// `wk create deployment`
#[derive(Debug, ClapArgs)]
pub struct CreateDeployment {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// Image of its container; may be repeated
    #[arg(long, required = true, value_delimiter = ',')]
    pub image: Vec<String>,
    /// How many pods
    #[arg(short, long, default_value_t = 1)]
    pub replicas: i32,
    /// Port that the container listens on
    #[arg(long)]
    pub port: Option<u16>,
    /// Command of the container
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// `wk create configmap`
#[derive(Debug, ClapArgs)]
pub struct CreateData {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// KEY=VALUE; may be repeated
    #[arg(long)]
    pub from_literal: Vec<String>,
    /// [KEY=]FILE, or a directory; may be repeated
    #[arg(long)]
    pub from_file: Vec<String>,
    /// File of lines KEY=VALUE; may be repeated
    #[arg(long)]
    pub from_env_file: Vec<PathBuf>,
    /// Put a hash of the content after the name
    #[arg(long)]
    pub append_hash: bool,
}

/// `wk create secret generic`
#[derive(Debug, ClapArgs)]
pub struct CreateGeneric {
    /// Name and content
    #[command(flatten)]
    pub data: CreateData,
    /// Type of the Secret
    #[arg(long = "type", value_name = "TYPE", default_value = "")]
    pub secret_type: String,
}

/// `wk create secret`
#[derive(Debug, Subcommand)]
pub enum CreateSecret {
    /// From literals and files
    Generic(CreateGeneric),
    /// From a certificate and its key
    Tls {
        /// Name, and how
        #[command(flatten)]
        named: CreateNamed,
        /// File of the certificate, PEM
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// File of the private key, PEM
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Put a hash of the content after the name
        #[arg(long)]
        append_hash: bool,
    },
    /// For a registry of images
    DockerRegistry(CreateDockerRegistry),
}

/// `wk create secret docker-registry`
#[derive(Debug, ClapArgs)]
pub struct CreateDockerRegistry {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// Address of the registry
    #[arg(long, default_value = "https://index.docker.io/v1/", value_name = "URL")]
    pub docker_server: String,
    /// User
    #[arg(long, value_name = "NAME", required_unless_present = "from_file")]
    pub docker_username: Option<String>,
    /// Password
    #[arg(long, value_name = "PASSWORD", required_unless_present = "from_file")]
    pub docker_password: Option<String>,
    /// Mail address
    #[arg(long, default_value = "", value_name = "ADDRESS")]
    pub docker_email: String,
    /// A configuration of docker in place of all that: [.dockerconfigjson=]FILE
    #[arg(long)]
    pub from_file: Vec<String>,
    /// Put a hash of the content after the name
    #[arg(long)]
    pub append_hash: bool,
}

/// `wk create service`
#[derive(Debug, Subcommand)]
pub enum CreateService {
    /// With an address in the cluster
    Clusterip {
        /// Name and ports
        #[command(flatten)]
        ports: CreatePorts,
        /// Address; None for a headless one
        #[arg(long, value_name = "IP")]
        clusterip: Option<String>,
    },
    /// Also on a port of every node
    Nodeport {
        /// Name and ports
        #[command(flatten)]
        ports: CreatePorts,
        /// Port on the nodes
        #[arg(long, default_value_t = 0, value_name = "PORT")]
        node_port: u16,
    },
    /// Also behind a load balancer
    Loadbalancer {
        /// Name and ports
        #[command(flatten)]
        ports: CreatePorts,
    },
    /// A name for a name outside
    Externalname {
        /// Name and ports
        #[command(flatten)]
        ports: CreatePorts,
        /// The name outside
        #[arg(long, value_name = "NAME")]
        external_name: String,
    },
}

/// A Service's name and ports.
#[derive(Debug, ClapArgs)]
pub struct CreatePorts {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// PORT or PORT:TARGET; may be repeated
    #[arg(long, value_delimiter = ',')]
    pub tcp: Vec<String>,
}

/// `wk create job`
#[derive(Debug, ClapArgs)]
pub struct CreateJob {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// Image of its container
    #[arg(long)]
    pub image: Option<String>,
    /// cronjob/NAME whose template is taken
    #[arg(long, value_name = "TYPE/NAME")]
    pub from: Option<String>,
    /// Command of the container
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// `wk create cronjob`
#[derive(Debug, ClapArgs)]
pub struct CreateCronJob {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// Image of its container
    #[arg(long)]
    pub image: String,
    /// When, such as "*/5 * * * *"
    #[arg(long)]
    pub schedule: String,
    /// OnFailure or Never
    #[arg(long, default_value = "OnFailure")]
    pub restart: String,
    /// Command of the container
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// Which verbs on which resources.
#[derive(Debug, ClapArgs)]
pub struct CreateRules {
    /// get, list, watch...
    #[arg(long, value_delimiter = ',')]
    pub verb: Vec<String>,
    /// pods, deployments.apps, pods/log...
    #[arg(long, value_delimiter = ',')]
    pub resource: Vec<String>,
    /// Only objects with these names
    #[arg(long, value_delimiter = ',')]
    pub resource_name: Vec<String>,
}

/// `wk create role`
#[derive(Debug, ClapArgs)]
pub struct CreateRole {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// What is allowed
    #[command(flatten)]
    pub rules: CreateRules,
}

/// `wk create clusterrole`
#[derive(Debug, ClapArgs)]
pub struct CreateClusterRole {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// What is allowed
    #[command(flatten)]
    pub rules: CreateRules,
    /// Take over the rules of ClusterRoles with these labels: KEY=VALUE,...
    #[arg(long, value_name = "LABELS", conflicts_with_all = ["verb", "resource", "resource_name", "non_resource_url"])]
    pub aggregation_rule: Option<String>,
    /// Paths that are no resources, such as /healthz
    #[arg(long = "non-resource-url", value_delimiter = ',', value_name = "PATH")]
    pub non_resource_url: Vec<String>,
}

/// Who gets a role.
#[derive(Debug, ClapArgs)]
pub struct CreateSubjects {
    /// Users; may be repeated
    #[arg(long, value_delimiter = ',')]
    pub user: Vec<String>,
    /// Groups; may be repeated
    #[arg(long, value_delimiter = ',')]
    pub group: Vec<String>,
    /// NAMESPACE:NAME of service accounts; may be repeated
    #[arg(long, value_delimiter = ',', value_name = "NAMESPACE:NAME")]
    pub serviceaccount: Vec<String>,
}

/// `wk create rolebinding`
#[derive(Debug, ClapArgs)]
pub struct CreateRoleBinding {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// The Role
    #[arg(long)]
    pub role: Option<String>,
    /// The ClusterRole
    #[arg(long)]
    pub clusterrole: Option<String>,
    /// Who
    #[command(flatten)]
    pub subjects: CreateSubjects,
}

/// `wk create clusterrolebinding`
#[derive(Debug, ClapArgs)]
pub struct CreateClusterRoleBinding {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// The ClusterRole
    #[arg(long)]
    pub clusterrole: String,
    /// Who
    #[command(flatten)]
    pub subjects: CreateSubjects,
}

/// `wk create token`
#[derive(Debug, ClapArgs)]
pub struct CreateToken {
    /// Name of the ServiceAccount
    pub name: String,
    /// For whom the token is; may be repeated
    #[arg(long, value_delimiter = ',')]
    pub audience: Vec<String>,
    /// How long it is valid [default: the server's choice]
    #[arg(long)]
    pub duration: Option<String>,
    /// Kind of the object without which it is not valid: Pod, Secret or Node
    #[arg(long, value_name = "KIND", requires = "bound_object_name")]
    pub bound_object_kind: Option<String>,
    /// Name of that object
    #[arg(long, value_name = "NAME", requires = "bound_object_kind")]
    pub bound_object_name: Option<String>,
    /// UID of that object [default: that of the one that has the name]
    #[arg(long, value_name = "UID", requires = "bound_object_kind")]
    pub bound_object_uid: Option<String>,
    /// Output format: json, yaml
    #[arg(short, long)]
    pub output: Option<String>,
}

/// `wk create poddisruptionbudget`
#[derive(Debug, ClapArgs)]
pub struct CreateBudget {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// Which pods
    #[arg(long)]
    pub selector: String,
    /// Number or percentage that must stay
    #[arg(long)]
    pub min_available: Option<String>,
    /// Number or percentage that may be missing
    #[arg(long)]
    pub max_unavailable: Option<String>,
}

/// `wk create priorityclass`
#[derive(Debug, ClapArgs)]
pub struct CreatePriorityClass {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// The priority
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    pub value: i32,
    /// For pods that name no class
    #[arg(long)]
    pub global_default: bool,
    /// What it is for
    #[arg(long, default_value = "")]
    pub description: String,
    /// Never or PreemptLowerPriority
    #[arg(long, default_value = "PreemptLowerPriority", value_name = "POLICY")]
    pub preemption_policy: String,
}

/// `wk create ingress`
#[derive(Debug, ClapArgs)]
pub struct CreateIngress {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// HOST/PATH=SERVICE:PORT[,tls[=SECRET]]; may be repeated
    #[arg(long)]
    pub rule: Vec<String>,
    /// SERVICE:PORT for everything else
    #[arg(long, value_name = "SERVICE:PORT")]
    pub default_backend: Option<String>,
    /// The IngressClass
    #[arg(long, value_name = "NAME")]
    pub class: Option<String>,
    /// KEY=VALUE; may be repeated
    #[arg(long)]
    pub annotation: Vec<String>,
}

/// `wk create quota`
#[derive(Debug, ClapArgs)]
pub struct CreateQuota {
    /// Name, and how
    #[command(flatten)]
    pub named: CreateNamed,
    /// RESOURCE=QUANTITY,...
    #[arg(long, default_value = "")]
    pub hard: String,
    /// What counts: BestEffort, NotTerminating...
    #[arg(long, value_delimiter = ',')]
    pub scopes: Vec<String>,
}
