//! Programs, started and ended; and somebody who calls them.

use std::{
    io::{BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use proto::{
    crm::v1::{self as pb, client_service_client::ClientServiceClient},
    identity::v1::{
        self as id, api_key_service_client::ApiKeyServiceClient,
        auth_service_client::AuthServiceClient, directory_service_client::DirectoryServiceClient,
        employee_service_client::EmployeeServiceClient,
    },
};
use rustix::process::{Pid, Signal, kill_process};
use service_kit::testing::cluster;
use tonic::{
    Request, Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use crate::{services::SECRET, terminal::Terminal};

pub const PATIENCE: Duration = Duration::from_secs(90);

/// A program that runs, and all that it has printed so far.
pub struct Program {
    child: Child,
    lines: Mutex<mpsc::Receiver<String>>,
    printed: Mutex<String>,
}

impl Program {
    /// Starts one of the three with these settings and no others.
    pub fn start(name: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::spawn(command(name, arguments, settings))
    }

    /// Starts the all-in-one at another place, as another user.
    pub fn start_as(user: &User, program: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = configured("clientele", program, settings);
        command.uid(user.uid).gid(user.gid);
        Self::spawn(command)
    }

    /// Starts one of the three whose standard error is a terminal. What it draws there is lines.
    pub fn start_at_a_terminal(name: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let Terminal { screen, line } = Terminal::open();
        let mut command = command(name, arguments, settings);
        let mut child = command.env("TERM", "xterm").stdout(Stdio::piped()).stderr(line).spawn();
        // Nobody but the child has the line now, so that the screen ends with it.
        drop(command);
        let out = read(child.as_mut().unwrap().stdout.take());
        Self::read_from(child.unwrap(), [out, Box::new(screen)])
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let streams = [read(child.stdout.take()), read(child.stderr.take())];
        Self::read_from(child, streams)
    }

    fn read_from(child: Child, streams: [Box<dyn Read + Send>; 2]) -> Self {
        let (sender, lines) = mpsc::channel();
        for stream in streams {
            let sender = sender.clone();
            // Nobody may be there to receive them any more.
            thread::spawn(move || lines_of(stream, |line| drop(sender.send(line))));
        }
        Self { child, lines: Mutex::new(lines), printed: Mutex::new(String::new()) }
    }

    /// Waits for a line that contains a text, and returns it.
    pub fn line_with(&self, text: &str) -> String {
        let patience = Instant::now() + PATIENCE;
        let lines = self.lines.lock().unwrap();
        let mut printed = self.printed.lock().unwrap();
        while let Ok(line) = lines.recv_timeout(patience.saturating_duration_since(Instant::now()))
        {
            printed.push_str(&line);
            printed.push('\n');
            if line.contains(text) {
                return line;
            }
        }
        panic!("no line with {text:?} in what was printed:\n{printed}");
    }

    /// All that was read so far.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap().clone()
    }

    /// Reads on until there is nothing more to come.
    pub fn printed_until_its_end(&self) -> String {
        let lines = self.lines.lock().unwrap();
        let mut printed = self.printed.lock().unwrap();
        for line in lines.iter() {
            printed.push_str(&line);
            printed.push('\n');
        }
        printed.clone()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let patience = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < patience, "it did not end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as if the machine had lost it.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal(Signal::TERM);
            self.ended();
        }
    }
}

/// Runs a program that must refuse to start, and returns what it says.
pub fn refusal_to_start(name: &str, arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let output = command(name, arguments, settings).output().unwrap();
    assert!(!output.status.success(), "{name} started");
    String::from_utf8(output.stderr).unwrap()
}

/// Runs a program to its good end.
pub fn run(name: &str, arguments: &[&str], settings: &[(&str, &str)]) {
    run_with("", name, arguments, settings);
}

/// Runs a program that reads something to its good end, and returns what it says.
pub fn run_with(input: &str, name: &str, arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let mut command = command(name, arguments, settings);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that reads nothing may have ended already.
    _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
    assert!(output.status.success(), "{err}");
    out + &err
}

fn command(name: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = configured(name, &binary(name), settings);
    command.args(arguments);
    command
}

fn configured(name: &str, program: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    // Nothing that happens to be set in somebody's shell, but where things are.
    command.env_clear();
    for inherited in ["PATH", "HOME"] {
        if let Some(value) = std::env::var_os(inherited) {
            command.env(inherited, value);
        }
    }
    if name == "clientele" {
        // What was found or fetched once is not fetched into each data folder again.
        command.env("CLIENTELE_POSTGRES", cluster::binaries());
    }
    command.envs(settings.iter().copied());
    command
}

/// Somebody of this machine.
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// Whoever has no rights of their own anywhere.
pub fn nobody() -> User {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = accounts.lines().find(|line| line.starts_with("nobody:")).expect("a user “nobody”");
    let number = |field: usize| line.split(':').nth(field).unwrap().parse().unwrap();
    User { uid: number(2), gid: number(3) }
}

/// The programs lie side by side. All are built here as `cargo test --workspace` builds them,
/// which takes no time after that, and keeps `cargo test -p clientele` from testing old ones.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let own = Path::new(env!("CARGO_BIN_EXE_clientele"));
    BUILT.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["test", "--quiet", "--workspace", "--no-run"]);
        // What cargo says to this test of its own package would look to build scripts as if
        // theirs were another one, and half of everything would be built anew each time.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                build.env_remove(name);
            }
        }
        if own.components().any(|part| part.as_os_str() == "release") {
            build.arg("--release");
        }
        assert!(build.stderr(Stdio::null()).status().unwrap().success());
    });
    own.with_file_name(name)
}

/// What a stream says line by line; what is drawn over is one too.
fn lines_of(stream: impl Read, receive: impl Fn(String)) {
    let mut line = Vec::new();
    for byte in BufReader::new(stream).bytes().map_while(Result::ok) {
        if byte != b'\n' && byte != b'\r' {
            line.push(byte);
        } else if !line.is_empty() {
            receive(String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned());
        }
    }
    if !line.is_empty() {
        receive(String::from_utf8_lossy(&line).into_owned());
    }
}

fn read(stream: Option<impl Read + Send + 'static>) -> Box<dyn Read + Send> {
    Box::new(stream.unwrap())
}

/// A folder of this test's own, which the server's user can reach.
pub fn folder(label: &str) -> local_postgres::ThrowawayFolder {
    local_postgres::throwaway_folder(label).unwrap()
}

/// The two services as somebody calls them.
#[derive(Clone)]
pub struct Caller {
    identity: Channel,
    crm: Channel,
    pub crm_address: String,
    pub token: String,
}

impl Caller {
    pub fn new(identity: &str, crm: &str) -> Self {
        let channel = |address: &str| {
            Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
        };
        Self {
            identity: channel(identity),
            crm: channel(crm),
            crm_address: crm.to_owned(),
            token: String::new(),
        }
    }

    /// Trusts whoever shows this certificate for localhost.
    pub fn over_tls(identity: &str, crm: &str, certificate: &str) -> Self {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(certificate))
            .domain_name("localhost");
        let channel = |address: &str| {
            let endpoint = Channel::from_shared(format!("https://{address}")).unwrap();
            endpoint.tls_config(tls.clone()).unwrap().connect_lazy()
        };
        Self {
            identity: channel(identity),
            crm: channel(crm),
            crm_address: crm.to_owned(),
            token: String::new(),
        }
    }

    pub async fn sign_up(&mut self, name: &str) -> Result<(), Status> {
        let request = id::SignUpRequest {
            account: Some(id::SignUpAccount { name: name.into(), ..Default::default() }),
            employee: Some(id::SignUpEmployee {
                email: format!("{name}@example.com"),
                password: "correct horse".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.token = self.auth().sign_up(request).await?.into_inner().token;
        Ok(())
    }

    pub async fn log_in(&mut self, name: &str) -> Result<(), Status> {
        let request = id::LoginRequest {
            email: format!("{name}@example.com"),
            password: "correct horse".into(),
        };
        self.token = self.auth().login(request).await?.into_inner().token;
        Ok(())
    }

    pub async fn create(&self, name: &str, request_id: &str) -> Result<i64, Status> {
        let client = pb::Client { first_name: name.into(), ..Default::default() };
        let request =
            pb::CreateClientRequest { client: Some(client), request_id: request_id.into() };
        let answer = self.clients().create_client(self.signed(request)).await?;
        Ok(answer.into_inner().client.unwrap().id)
    }

    pub async fn list(&self) -> Result<Vec<pb::Client>, Status> {
        let request = pb::ListClientsRequest { page_size: 1000, ..Default::default() };
        Ok(self.clients().list_clients(self.signed(request)).await?.into_inner().clients)
    }

    /// Lists until it works again.
    pub async fn list_after_recovery(&self) -> Vec<pb::Client> {
        let patience = Instant::now() + PATIENCE;
        loop {
            match self.list().await {
                Ok(clients) => return clients,
                Err(status) => assert!(Instant::now() < patience, "it did not recover: {status}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.identity.clone())
    }

    /// A watch of all that happens in identity's directory, from a cursor on.
    pub async fn watch(
        &self,
        cursor: Option<id::DirectoryPosition>,
    ) -> Result<Streaming<id::WatchDirectoryResponse>, Status> {
        let mut request = Request::new(id::WatchDirectoryRequest { cursor });
        request.metadata_mut().insert("x-service-authorization", SECRET.parse().unwrap());
        let mut directory = DirectoryServiceClient::new(self.identity.clone());
        Ok(directory.watch_directory(request).await?.into_inner())
    }

    /// To call what nothing here calls.
    pub fn crm(&self) -> Channel {
        self.crm.clone()
    }

    pub fn clients(&self) -> ClientServiceClient<Channel> {
        ClientServiceClient::new(self.crm.clone())
    }

    pub fn employees(&self) -> EmployeeServiceClient<Channel> {
        EmployeeServiceClient::new(self.identity.clone())
    }

    pub fn api_keys(&self) -> ApiKeyServiceClient<Channel> {
        ApiKeyServiceClient::new(self.identity.clone())
    }

    pub fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(10));
        request
            .metadata_mut()
            .insert("authorization", format!("Token {}", self.token).parse().unwrap());
        request
    }
}

/// Waits for a letter with a code of a kind.
pub async fn code_in_a_letter(letters: &Path, kind: &str) -> String {
    let patience = Instant::now() + PATIENCE;
    while Instant::now() < patience {
        let files = std::fs::read_dir(letters).into_iter().flatten().flatten();
        let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        let mut words = texts
            .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>());
        if let Some(code) = words.find(|word| word.starts_with(kind)) {
            return code;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no letter came");
}
