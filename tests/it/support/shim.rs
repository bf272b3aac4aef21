//! The proxy as a process.

use super::{Client, SECRET};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program under test: the one that cargo built, or the one that `SCOPESHIM_BIN` names, such as an emulator's script
/// that runs another processor's.
pub fn program() -> OsString {
    std::env::var_os("SCOPESHIM_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_scopeshim").into())
}

/// The command under test.
pub fn scopeshim() -> Command {
    let mut command = Command::new(program());
    command.env_remove("SCOPESHIM_CONFIG");
    command
}

/// A running proxy; ends with the value.
pub struct Shim {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    blocked: Arc<AtomicBool>,
    pub dir: TempDir,
}

impl Shim {
    /// A proxy in front of `gateway` in token mode, with these further tables.
    pub fn start(gateway: SocketAddr, tables: &str) -> Self {
        Self::with(gateway, "kind = \"token\", file = \"gateway.token\"", tables)
    }

    /// A proxy with this `auth`.
    pub fn with(gateway: SocketAddr, auth: &str, tables: &str) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), gateway, auth, tables, false)
    }

    /// A proxy that asks its gateway what it is; the others do not, for most tests count what arrives.
    pub fn asking(gateway: SocketAddr, auth: &str, tables: &str) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), gateway, auth, tables, true)
    }

    /// A proxy whose listener gives callers without a credential this identity.
    pub fn with_identity(gateway: SocketAddr, identity: &str, tables: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = config(&dir, gateway, "kind = \"token\", file = \"gateway.token\"", tables, false);
        let listen = "address = \"127.0.0.1:0\"";
        let text = text.replacen(listen, &format!("{listen}\nidentity = \"{identity}\""), 1);
        std::fs::write(dir.path().join("config.toml"), text).unwrap();
        Self::spawn(dir)
    }

    /// A proxy with these files, readable by their owner alone, beside its configuration.
    pub fn start_with_files(gateway: SocketAddr, files: &[(&str, &str)], tables: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write_private(&dir.path().join(name), text);
        }
        Self::in_dir(dir, gateway, "kind = \"token\", file = \"gateway.token\"", tables, false)
    }

    fn in_dir(dir: TempDir, gateway: SocketAddr, auth: &str, tables: &str, probe: bool) -> Self {
        std::fs::write(dir.path().join("config.toml"), config(&dir, gateway, auth, tables, probe)).unwrap();
        Self::spawn(dir)
    }

    /// Starts the binary on the configuration in `dir`.
    pub fn spawn(dir: TempDir) -> Self {
        Self::spawn_with(dir, "config.toml", &[])
    }

    /// The same by the configuration at this place in it, with these variables.
    pub fn spawn_with(dir: TempDir, config: &str, env: &[(&str, &Path)]) -> Self {
        let mut command = scopeshim();
        command.arg("run").arg("--config").arg(dir.path().join(config)).envs(env.iter().copied());
        Self::follow(dir, command)
    }

    /// Starts the binary with no more than so many descriptors.
    pub fn spawn_below(dir: TempDir, descriptors: u32) -> Self {
        let mut command = Command::new("sh");
        let line = format!("ulimit -n {descriptors} && exec \"$@\"");
        command.args(["-c", &line, "sh"]).arg(program()).args(["run", "--config"]);
        command.arg(dir.path().join("config.toml")).env_remove("SCOPESHIM_CONFIG");
        Self::follow(dir, command)
    }

    fn follow(dir: TempDir, mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = log.clone();
        let blocked = Arc::new(AtomicBool::new(false));
        let waits = blocked.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                while waits.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                kept.lock().unwrap().push(line);
            }
        });
        let begun = Instant::now();
        // An emulator translates the whole start first.
        let patience = Duration::from_secs(if std::env::var_os("SCOPESHIM_BIN").is_some() { 120 } else { 20 });
        let address = loop {
            if let Some(address) = log.lock().unwrap().iter().find_map(|l| listening(l)) {
                break address;
            }
            if child.try_wait().unwrap().is_some() || begun.elapsed() >= patience {
                let _ = child.kill();
                let _ = child.wait();
                panic!("did not start: {:?}", log.lock().unwrap());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Self { child, address, log, blocked, dir }
    }

    /// Ends it at once and starts it anew on the same directory.
    pub fn restart(mut self) -> Self {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        Self::spawn(dir)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its directory, for another process on the same configuration.
    pub fn take_dir(&mut self) -> TempDir {
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    /// A connection to it.
    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Everything it wrote to standard error so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a line says this: lines are written a moment after what they tell of.
    #[track_caller]
    pub fn says(&self, text: &str) {
        super::eventually(text, || self.log().iter().any(|l| l.contains(text)));
    }

    /// Has its standard error read no more, or again.
    pub fn block_log(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// The access lines so far.
    pub fn access(&self) -> Vec<serde_json::Value> {
        let lines = self.log();
        lines
            .iter()
            .filter_map(|l| serde_json::from_str(l).ok())
            .filter(|v: &serde_json::Value| v["target"] == "access")
            .collect()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

/// The configuration's text, and the gateway's secret in its place.
fn config(dir: &TempDir, gateway: SocketAddr, auth: &str, tables: &str, probe: bool) -> String {
    write_private(&dir.path().join("gateway.token"), SECRET);
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\n[gateway]\nurl = \"http://{gateway}\"\nauth = {{ {auth} }}\nretry_for = \"2s\"\nprobe = {probe}\n\n{tables}"
    );
    let state = dir.path().join("state").display().to_string();
    if text.contains("[server]") {
        text.replace("[server]", &format!("[server]\nstate_dir = \"{state}\""))
    } else {
        format!("{text}\n[server]\nstate_dir = \"{state}\"\n")
    }
}

pub fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

impl Drop for Shim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str()?.parse().ok())?
}
