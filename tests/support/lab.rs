//! The lab with a real server at its far end, and probes in it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uplink_exporter::config::{self, Config};
use uplink_exporter::lab::{Lab, Namespace, TARGETS, Topology, target};
use uplink_exporter::net::{Family, Network};
use uplink_exporter::probe::identity::Identities;
use uplink_exporter::probe::{self, Report, Request};
use uplink_exporter::reflect::{self, Reflector};

use super::{Running, program, skip, until};

/// The lab, nginx at the far end of its paths, and a configuration.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) config: Config,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) network: Arc<Network>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) folder: tempfile::TempDir,
    /// The certificate authority of nginx, which the file `CA` makes trusted.
    pub(crate) authority: rcgen::Issuer<'static, rcgen::KeyPair>,
    _nginx: Running,
}

/// Two networks that are still to be joined, by `ip`; nothing, and a word why, where they cannot be.
pub(crate) fn namespaces(names: [&'static str; 2]) -> Option<[Namespace; 2]> {
    program("ip")?;
    let made = names.map(|name| Namespace::create(name, || Ok(())).map(|(namespace, ())| namespace));
    let [one, other] = made.map(|made| made.map_err(|why| skip(&why.to_string())).ok());
    Some([one?, other?])
}

/// Has our own reflector answer over STUN on all addresses of a network, until this program ends.
pub(crate) fn reflect(namespace: &Namespace) {
    let runtime = Box::leak(Box::new(namespace.runtime().unwrap()));
    let options = reflect::Options { stun: vec![":3478".to_owned()], ..Default::default() };
    let open = || {
        let _inside = runtime.enter();
        Reflector::open(&options)
    };
    let reflector = namespace.run(open).unwrap().unwrap();
    runtime.spawn(reflector.run(std::future::pending()));
}

/// Tests that hold times to microseconds run one at a time: what one does to the machine is not to be seen in the times of another.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lab's ISPs, each by one means of binding: `a_address`, `a_interface`, `a_mark`, `b_…`; and by all means: `a`, `b`.
const ISPS: &str = "
isps:
  a: {source_ip: 10.1.0.2, source_ip6: 'fd00:a::2', interface: ispa, fwmark: 101}
  b: {source_ip: 10.2.0.2, source_ip6: 'fd00:b::2', interface: ispb, fwmark: 102}
  a_address: {source_ip: 10.1.0.2, source_ip6: 'fd00:a::2'}
  b_address: {source_ip: 10.2.0.2, source_ip6: 'fd00:b::2'}
  a_interface: {interface: ispa}
  b_interface: {interface: ispb}
  a_mark: {fwmark: 101}
  b_mark: {fwmark: 102}
";

impl Site {
    /// Builds it; `None`, and a word why, where it cannot be. `modules` is YAML in which `CA` stands for the file of the
    /// certificate authority of nginx.
    pub(crate) fn start(topology: Topology, modules: &str) -> Option<Self> {
        if let Err(why) = Lab::available() {
            skip(&why);
            return None;
        }
        let nginx = program("nginx")?;
        program("tcpdump")?;
        let lab = Lab::start(topology).expect("the lab starts");
        let folder = tempfile::tempdir().unwrap();
        let authority = write_certificates(folder.path());
        let nginx = start_nginx(&lab, &nginx, folder.path());
        let ca = folder.path().join("ca.pem").display().to_string();
        let text = format!("{ISPS}modules:\n{}", modules.replace("CA", &ca));
        let config = config::load_str(&text, "test.yml").unwrap_or_else(|errors| panic!("{errors}"));
        let runtime = lab.prober().runtime().unwrap();
        let network = Arc::new(Network::new());
        let identities = Arc::default();
        Some(Self { lab, config, runtime, network, identities, folder, authority, _nginx: nginx })
    }

    /// A request for a module, through an ISP (or as the kernel routes, for ``), to a target.
    pub(crate) fn request(&self, module: &str, isp: &str, target: &str, timeout: Duration) -> Request {
        Request {
            target: target.to_owned(),
            module: Arc::clone(self.config.modules.get(module).unwrap_or_else(|| panic!("no module {module}"))),
            isp: (!isp.is_empty()).then(|| Arc::clone(&self.config.isps[isp])),
            zoned: None,
            isps: Arc::clone(&self.config.isps),
            hostname: None,
            timeout,
            log_limit: usize::MAX,
            network: Arc::clone(&self.network),
            identities: Arc::clone(&self.identities),
        }
    }

    /// Has `ip` change devices, addresses, routes and rules of the prober's host.
    pub(crate) fn ip(&self, arguments: &str) {
        let mut command = Command::new("ip");
        command.args(arguments.split_whitespace());
        assert!(self.lab.prober().spawn(&mut command).unwrap().wait().unwrap().success(), "ip {arguments}");
    }

    /// Runs requests at the same time, in the prober's namespace.
    pub(crate) fn run_all(&self, requests: Vec<Request>) -> Vec<Report> {
        let run = self.lab.prober().run(|| {
            self.runtime.block_on(async {
                let tasks: Vec<_> = requests
                    .into_iter()
                    .map(|request| tokio::spawn(async move { probe::run(&request).await }))
                    .collect();
                let mut reports = Vec::new();
                for task in tasks {
                    reports.push(task.await.unwrap());
                }
                reports
            })
        });
        run.unwrap()
    }

    /// Runs one request.
    pub(crate) fn run(&self, module: &str, isp: &str, target: &str, timeout: Duration) -> Report {
        self.run_all(vec![self.request(module, isp, target, timeout)]).remove(0)
    }
}

/// An address of the far end as it stands in a URL or before a port.
pub(crate) fn host(family: Family, number: u8) -> String {
    match family {
        Family::V4 => target(family, number).to_string(),
        Family::V6 => format!("[{}]", target(family, number)),
    }
}

/// Makes a certificate authority and a certificate of the far end; returns the former.
fn write_certificates(folder: &Path) -> rcgen::Issuer<'static, rcgen::KeyPair> {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "lab CA");
    std::fs::write(folder.join("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let addresses =
        TARGETS.flat_map(|number| [Family::V4, Family::V6].map(|family| target(family, number).to_string()));
    let names = addresses.chain(["web.lab".to_owned()]).collect::<Vec<_>>();
    let leaf = rcgen::CertificateParams::new(names).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::Issuer::new(ca, ca_key);
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    std::fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    authority
}

fn start_nginx(lab: &Lab, nginx: &Path, folder: &Path) -> Running {
    let path = folder.display();
    let text = format!(
        "daemon off; pid {path}/nginx.pid; error_log {path}/error.log; master_process off;
events {{ worker_connections 2048; }}
http {{
  geo $isp {{ default b; 10.1.0.0/24 a; fd00:a::/64 a; }}
  access_log off; client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f;
  uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;
  server {{
    listen 80; listen [::]:80 ipv6only=on;
    listen 443 ssl http2; listen [::]:443 ssl http2 ipv6only=on;
    ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ return 200 'well\\n'; }}
    location /by_isp {{ if (-f {path}/broken_$isp) {{ return 500; }} return 200 'well\\n'; }}
    location /missing {{ return 404; }}
    location /broken {{ return 503; }}
    location /busy {{ return 429; }}
    location /moved {{ return 302 /there; }}
    location /circle {{ return 302 /circle; }}
    location /big {{ root {path}; }}
    location /paced/ {{ proxy_pass http://127.0.0.1:8080/; proxy_buffering off; proxy_redirect off; postpone_output 0; proxy_http_version 1.1; }}
    location /grpc.health.v1.Health/ {{ grpc_pass grpc://127.0.0.1:50051; }}
    location /socket {{
      proxy_pass http://127.0.0.1:8080; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade;
    }}
  }}
}}
"
    );
    std::fs::write(folder.join("nginx.conf"), text).unwrap();
    std::fs::write(folder.join("big"), vec![b'.'; 4 << 20]).unwrap();
    let mut command = Command::new(nginx);
    command.args(["-c", &format!("{path}/nginx.conf"), "-e", &format!("{path}/error.log")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let nginx = Running(lab.far().spawn(&mut command).expect("nginx starts"));
    until("nginx serves", || folder.join("nginx.pid").metadata().is_ok_and(|file| file.len() > 0));
    nginx
}
