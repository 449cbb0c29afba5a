//! Sets the services up on the platform library and runs them to their orderly end.

use platform::{
    ChannelOptions, Error, Platform, Service,
    channel::{Connector, TlsFiles},
    platform::Serving,
    server::{Auth, Cors, Jwt, Rate, Surface, Tls},
};

use crate::{
    FILE_DESCRIPTOR_SET,
    ending::Ending,
    fault::Faults,
    options::{Options, Parent},
    order::{Orders, UserClient},
    pb::{
        fault::fault_service_server::FaultServiceServer,
        order::order_service_server::OrderServiceServer,
        user::user_service_server::UserServiceServer,
    },
    settings::{Settings, Shape},
    user::Users,
};

/// Runs an instance of `user` until a signal or its parent ends it, and drains it.
///
/// # Errors
/// Bad options, a taken port. etcd being away is no error.
pub async fn run_user(options: Options) -> Result<(), Error> {
    let parent = options.parent;
    run(start_user(options).await?, parent).await
}

/// Runs an instance of `order`; see [`run_user`].
///
/// # Errors
/// As [`run_user`].
pub async fn run_order(options: Options) -> Result<(), Error> {
    let parent = options.parent;
    run(start_order(options).await?, parent).await
}

/// Starts an instance of `user` in this process. It ends with the [`Serving`], or drains by it.
///
/// # Errors
/// As [`run_user`].
pub async fn start_user(options: Options) -> Result<Serving, Error> {
    let (platform, id) = join("user", &options).await?;
    let settings = Settings::live(platform.config())?;
    let users = Users::new(&id, settings.clone()).among(
        &platform,
        options.token.clone(),
        connector(&options)?,
    );
    platform.liveness_check("store", users.check());
    let service = Service::new();
    let faults = Faults::new(&id, settings, service.health());
    let service = service
        .grpc(UserServiceServer::new(users))
        .grpc(FaultServiceServer::new(faults.clone()))
        .gate(faults)
        .descriptors(FILE_DESCRIPTOR_SET);
    let service = secured(
        guarded(service, &options).await?,
        &options,
        Callers::OfTheDemo,
    );
    platform.bind(service).await
}

/// Starts an instance of `order` in this process; see [`start_user`].
///
/// # Errors
/// As [`run_user`].
pub async fn start_order(options: Options) -> Result<Serving, Error> {
    let (platform, id) = join("order", &options).await?;
    let settings = Settings::live(platform.config())?;
    let users = UserClient::new(platform.channel("user"));
    let orders = Orders::new(&id, settings.clone(), users, options.token.clone());
    let orders = orders.among(&platform, connector(&options)?);
    platform.liveness_check("store", orders.check());
    let service = Service::new();
    let faults = Faults::new(&id, settings, service.health());
    let service = service
        .grpc(OrderServiceServer::new(orders))
        .grpc(FaultServiceServer::new(faults.clone()))
        .gate(faults)
        .descriptors(FILE_DESCRIPTOR_SET);
    let service = secured(guarded(service, &options).await?, &options, Callers::All);
    platform.bind(service).await
}

/// The process in the fleet, and what it is called there.
async fn join(service: &str, options: &Options) -> Result<(Platform, String), Error> {
    let own = || format!("{service}-{}", std::process::id());
    let id = options.instance.clone().unwrap_or_else(own);
    let mut builder = Platform::builder(service)
        .schema::<Shape>()
        .instance_id(&id)
        .version(env!("CARGO_PKG_VERSION"))
        .listen(options.listen.to_string())
        .etcd(&options.etcd)
        .prefixes(options.prefixes.clone())
        .lease_ttl(options.ttl)
        .drain_timeout(options.drain)
        .channel_options(ChannelOptions {
            connector: connector(options)?,
            // A read that may have been answered already does no harm when it is repeated.
            ..ChannelOptions::default().descriptors(FILE_DESCRIPTOR_SET)?
        })
        // A demo must not begin with what an earlier one left behind.
        .no_config_cache();
    for (name, value) in &options.metadata {
        builder = builder.metadata(name, value);
    }
    if let Some(file) = &options.config_file {
        builder = builder.config_file(file);
    }
    Ok((builder.start().await?, id))
}

/// How others are reached: where they speak TLS, we show who we are, and files that are renewed count.
pub(crate) fn connector(options: &Options) -> Result<Connector, Error> {
    match &options.tls {
        None => Ok(Connector::default()),
        Some(us) => Connector::default().tls_files(TlsFiles {
            ca: Some(us.authority.clone()),
            identity: Some((us.certificate.clone(), us.key.clone())),
            server_name: None,
        }),
    }
}

/// Who gives out the tokens of a demo, and for whom: `iss` and `aud`.
const ISSUER: &str = "msctl-demo";

/// Who may call over TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Callers {
    All,
    /// Those with a certificate of the demo's: mutual TLS.
    OfTheDemo,
}

fn secured(service: Service, options: &Options, callers: Callers) -> Service {
    let Some(us) = &options.tls else {
        return service;
    };
    let tls = Tls::files(&us.certificate, &us.key);
    service.tls(match callers {
        Callers::All => tls,
        Callers::OfTheDemo => tls.clients(&us.authority),
    })
}

/// With a token, or keys for such, the API wants one; what an operator looks at stays open. Faster callers
/// than the rate and pages of other origins are refused.
async fn guarded(mut service: Service, options: &Options) -> Result<Service, Error> {
    const OPEN: [Surface; 3] = [Surface::Health, Surface::Reflection, Surface::Metrics];
    if let Some(rate) = options.rate {
        service = service.rate(Rate::per_second(rate).each_caller());
    }
    if !options.origins.is_empty() {
        service = service.cors(Cors::origins(options.origins.iter().cloned()));
    }
    if let Some(file) = &options.jwks {
        let wrong = |error: &dyn std::fmt::Display| Error::Serve {
            service: "the demo".to_owned(),
            cause: error.to_string(),
        };
        let tokens = Jwt::keys_from_file(file)
            .issuer(ISSUER)
            .audience(ISSUER)
            .start()
            .await;
        let tokens = tokens.map_err(|error| wrong(&error))?;
        return Ok(service.auth(Auth::new(tokens).open(&OPEN)));
    }
    Ok(match &options.token {
        Some(token) => service.auth(Auth::token(token.0.as_str()).open(&OPEN)),
        None => service,
    })
}

async fn run(serving: Serving, parent: Parent) -> Result<(), Error> {
    let ending = Ending::listen(parent)?;
    serving.run_until(ending.leave(), ending.stop_now()).await;
    Ok(())
}
