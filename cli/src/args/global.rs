//! The flags of every command: which cluster, as whom, where, and how
//! patiently. They are kubectl's (`kubectl options`); those of kubectl's own
//! machinery (profiles, log files) are not offered.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Flags of every client command.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = HEADING)]
pub struct Global {
    /// Path of the kubeconfig file [default: $KUBECONFIG, ~/.kube/config, then the local server's]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Name of the kubeconfig cluster to use
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub cluster: Option<String>,
    /// Name of the kubeconfig user to use
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub user: Option<String>,
    /// Namespace of the request [default: the context's, else "default"]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Directory of the local server's data, where its kubeconfig is found
    #[arg(long, global = true, value_name = "DIR", env = "WK_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// URL of the API, in place of the kubeconfig's
    #[arg(short = 's', long = "server", global = true, value_name = "URL", hide_short_help = true)]
    pub api: Option<String>,
    /// File of the authority that signed the server's certificate
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub certificate_authority: Option<PathBuf>,
    /// Name in the server's certificate, when it is not the URL's
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub tls_server_name: Option<String>,
    /// Do not check the server's certificate
    #[arg(long, global = true, hide_short_help = true)]
    pub insecure_skip_tls_verify: bool,
    /// Bearer token to show, in place of the kubeconfig's credentials
    #[arg(long, global = true, hide_short_help = true)]
    pub token: Option<String>,
    /// File of the certificate to show, in place of the kubeconfig's credentials
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub client_certificate: Option<PathBuf>,
    /// File of the certificate's key
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub client_key: Option<PathBuf>,
    /// User to act as
    #[arg(long = "as", global = true, value_name = "USER", hide_short_help = true)]
    pub act_as: Option<String>,
    /// Group to act as; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP", hide_short_help = true)]
    pub act_as_group: Vec<String>,
    /// UID to act as
    #[arg(long = "as-uid", global = true, value_name = "UID", hide_short_help = true)]
    pub act_as_uid: Option<String>,
    /// How long one request may take, such as 5s; 0 for as long as it takes
    #[arg(long, global = true, value_name = "DURATION", default_value = "0", hide_short_help = true)]
    pub request_timeout: String,
    /// Fail when the server warns
    #[arg(long, global = true, hide_short_help = true)]
    pub warnings_as_errors: bool,
    /// Say what is asked of the server: 6 for each request, 8 with what is in it
    #[arg(short = 'v', long = "v", global = true, value_name = "LEVEL", default_value_t = 0, hide_short_help = true)]
    pub verbosity: u8,
}

/// Over these flags in every command's help.
const HEADING: &str = "Options of every command (--help for all)";
