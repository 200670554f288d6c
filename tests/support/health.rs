//! A gRPC health server that is not ours.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use tonic::metadata::MetadataMap;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Status};
use tonic_health::ServingStatus;

/// Serves health; the services `up`, `down` and `strange` are known, and the server as a whole serves. Returns where.
pub(crate) fn serve_health(address: SocketAddr) -> SocketAddr {
    serve_health_to(address, |_| true)
}

/// Serves it to those whose metadata are as they must be.
pub(crate) fn serve_health_to(
    address: SocketAddr,
    is_welcome: impl Fn(&MetadataMap) -> bool + Clone + Send + Sync + 'static,
) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (reporter, service) = tonic_health::server::health_reporter();
            reporter.set_service_status("up", ServingStatus::Serving).await;
            reporter.set_service_status("down", ServingStatus::NotServing).await;
            reporter.set_service_status("strange", ServingStatus::Unknown).await;
            let incoming = TcpIncoming::bind(address).unwrap().with_nodelay(Some(true));
            tell.send(incoming.local_addr().unwrap()).unwrap();
            let service =
                InterceptedService::new(service, move |call: Request<()>| match is_welcome(call.metadata()) {
                    true => Ok(call),
                    false => Err(Status::unauthenticated("who?")),
                });
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
    });
    told.recv().unwrap()
}
