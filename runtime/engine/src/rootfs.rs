//! A container's files: a root directory of its own, and mounts.
//!
//! The root starts with what programs expect (`/etc/hosts`, `/tmp`, …) and an
//! empty directory at each mount point, so that listings show it. Directories
//! are mounted as WASI preopens; a single file is linked or copied into the
//! root, since WASI has no preopened files. Made by `runtime.rs` with the
//! container, before its guest runs and could put symbolic links in the way.

use crate::run::Preopen;
use std::{
    fs, io,
    net::IpAddr,
    path::{Component, Path, PathBuf},
};
use wk_cri::{ContainerConfig, DnsConfig, Error, Mount, PodSandboxConfig};

/// Directories of every root.
const DIRECTORIES: [&str; 2] = ["etc", "tmp"];

/// What a container sees as its files.
#[derive(Debug)]
pub(crate) struct Rootfs {
    directory: PathBuf,
    preopens: Vec<Preopen>,
}

impl Rootfs {
    /// Makes the root in `directory`, which must not exist.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a mount that cannot be; [`Error::Internal`]
    /// when the disk fails.
    pub fn create(
        directory: PathBuf,
        sandbox: &PodSandboxConfig,
        address: Option<IpAddr>,
        config: &ContainerConfig,
    ) -> Result<Self, Error> {
        let root = Preopen { host: directory.clone(), guest: "/".to_owned(), readonly: config.readonly_rootfs };
        let mut rootfs = Self { directory, preopens: vec![root] };
        rootfs.write_basics(sandbox, address).map_err(internal)?;
        if !config.working_dir.is_empty() {
            let inside = inside(&config.working_dir)?;
            fs::create_dir_all(rootfs.directory.join(inside)).map_err(internal)?;
        }
        for mount in &config.mounts {
            rootfs.mount(mount)?;
        }
        Ok(rootfs)
    }

    /// What the guest gets, the root first.
    pub fn preopens(&self) -> &[Preopen] {
        &self.preopens
    }

    /// Where the root is; what is mounted is elsewhere.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Deletes the root; mounted directories stay.
    ///
    /// # Errors
    /// The operating system's; none when it is gone.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn write_basics(&self, sandbox: &PodSandboxConfig, address: Option<IpAddr>) -> io::Result<()> {
        for name in DIRECTORIES {
            fs::create_dir_all(self.directory.join(name))?;
        }
        let etc = self.directory.join("etc");
        fs::write(etc.join("hostname"), format!("{}\n", sandbox.hostname))?;
        fs::write(etc.join("hosts"), hosts(sandbox, address))?;
        fs::write(etc.join("resolv.conf"), resolv_conf(&sandbox.dns))
    }

    fn mount(&mut self, mount: &Mount) -> Result<(), Error> {
        let inside = inside(&mount.container_path)?;
        let unusable = |error: io::Error| {
            Error::InvalidArgument(format!("mount {} at {}: {error}", mount.host_path.display(), mount.container_path))
        };
        let is_directory = fs::metadata(&mount.host_path).map_err(unusable)?.is_dir();
        let place = self.directory.join(&inside);
        if is_directory {
            fs::create_dir_all(&place).map_err(unusable)?;
            let guest = format!("/{}", inside.display());
            self.preopens.push(Preopen { host: mount.host_path.clone(), guest, readonly: mount.readonly });
            return Ok(());
        }
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(unusable)?;
        }
        mount_file(mount, &place).map_err(unusable)
    }
}

/// A writable file is the same file under two names; a read-only one is a copy,
/// which the guest may change without changing the original.
fn mount_file(mount: &Mount, place: &Path) -> io::Result<()> {
    if place.exists() {
        fs::remove_file(place)?;
    }
    if mount.readonly { fs::copy(&mount.host_path, place).map(drop) } else { fs::hard_link(&mount.host_path, place) }
}

/// A path of the container relative to its root.
fn inside(path: &str) -> Result<PathBuf, Error> {
    let invalid = || Error::InvalidArgument(format!("{path:?} is not an absolute path without \"..\""));
    let rest = Path::new(path).strip_prefix("/").map_err(|_| invalid())?;
    let fits = rest.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
    if fits { Ok(rest.components().collect()) } else { Err(invalid()) }
}

/// As upstream's kubelet writes it.
fn hosts(sandbox: &PodSandboxConfig, address: Option<IpAddr>) -> String {
    let mut lines = vec!["# Kubernetes-managed hosts file.".to_owned()];
    lines.extend(["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"].map(str::to_owned));
    lines.extend(address.map(|address| format!("{address}\t{}", own_names(sandbox))));
    if !sandbox.host_aliases.is_empty() {
        lines.extend([String::new(), "# Entries added by HostAliases.".to_owned()]);
    }
    lines.extend(sandbox.host_aliases.iter().map(|(name, address)| format!("{address}\t{name}")));
    lines.join("\n") + "\n"
}

/// The pod's names, the full one first when it has one.
fn own_names(sandbox: &PodSandboxConfig) -> String {
    let PodSandboxConfig { hostname, domain, .. } = sandbox;
    let end = format!(".{domain}");
    match hostname.strip_suffix(&end) {
        _ if domain.is_empty() => hostname.clone(),
        Some(short) => format!("{hostname}\t{short}"),
        None => format!("{hostname}{end}\t{hostname}"),
    }
}

fn resolv_conf(dns: &DnsConfig) -> String {
    let DnsConfig { servers, searches, options } = dns;
    let mut lines: Vec<String> = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    for (word, values) in [("search", searches), ("options", options)] {
        if !values.is_empty() {
            lines.push(format!("{word} {}\n", values.join(" ")));
        }
    }
    lines.concat()
}

fn internal(error: io::Error) -> Error {
    Error::Internal(format!("make the root directory of a container: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(directory: &Path, mounts: Vec<Mount>) -> Result<Rootfs, Error> {
        let sandbox = PodSandboxConfig { hostname: "web-0".to_owned(), ..PodSandboxConfig::default() };
        let config = ContainerConfig { mounts, working_dir: "/srv/app".to_owned(), ..ContainerConfig::default() };
        Rootfs::create(directory.join("root"), &sandbox, "10.244.0.5".parse().ok(), &config)
    }

    fn mount(container_path: &str, host_path: PathBuf, readonly: bool) -> Mount {
        Mount { container_path: container_path.to_owned(), host_path, readonly }
    }

    #[test]
    fn a_root_has_what_programs_expect() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = create(directory.path(), Vec::new()).unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join("root").join(name)).unwrap();
        assert_eq!(read("etc/hostname"), "web-0\n");
        assert!(read("etc/hosts").contains("10.244.0.5\tweb-0\n"));
        assert!(directory.path().join("root/srv/app").is_dir());
        rootfs.remove().unwrap();
        rootfs.remove().unwrap();
        assert!(!directory.path().join("root").exists());
    }

    #[test]
    fn hosts_has_the_pods_names_and_its_aliases() {
        let said = |hostname: &str, domain: &str| {
            let (hostname, domain) = (hostname.to_owned(), domain.to_owned());
            let host_aliases =
                vec![("db".to_owned(), [10, 1, 1, 1].into()), ("cache".to_owned(), [10, 1, 1, 2].into())];
            hosts(&PodSandboxConfig { hostname, domain, host_aliases, ..Default::default() }, "10.244.0.5".parse().ok())
        };
        let plain = said("web-0", "");
        assert!(plain.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"), "{plain}");
        assert!(plain.ends_with("\n\n# Entries added by HostAliases.\n10.1.1.1\tdb\n10.1.1.2\tcache\n"), "{plain}");
        assert!(plain.contains("\n10.244.0.5\tweb-0\n"), "{plain}");
        let full = "\n10.244.0.5\tweb-0.web.shop.svc.cluster.local\tweb-0\n";
        assert!(said("web-0", "web.shop.svc.cluster.local").contains(full));
        assert!(said("web-0.web.shop.svc.cluster.local", "web.shop.svc.cluster.local").contains(full));
    }

    #[test]
    fn a_directory_is_a_preopen_with_a_visible_mount_point() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = create(directory.path(), vec![mount("/data/in/", directory.path().to_owned(), true)]).unwrap();
        assert!(directory.path().join("root/data/in").is_dir());
        let preopen = &rootfs.preopens()[1];
        assert_eq!((preopen.guest.as_str(), preopen.readonly), ("/data/in", true));
    }

    #[test]
    fn a_file_is_shared_when_writable_and_copied_when_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "old").unwrap();
        let mounts = vec![mount("/etc/hosts", file.clone(), true), mount("/rw", file.clone(), false)];
        create(directory.path(), mounts).unwrap();
        let root = directory.path().join("root");
        fs::write(root.join("rw"), "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_to_string(root.join("etc/hosts")).unwrap(), "old");
    }

    #[test]
    fn a_mount_cannot_leave_the_root() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["/../x", "data", "", "/a/../../b"] {
            let made = create(directory.path(), vec![mount(path, directory.path().to_owned(), false)]);
            assert!(matches!(made, Err(Error::InvalidArgument(_))), "{path}: {made:?}");
        }
        let missing = create(directory.path(), vec![mount("/x", directory.path().join("none"), false)]);
        assert!(missing.unwrap_err().to_string().contains("none"));
    }
}
