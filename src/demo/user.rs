//! `user.v1.UserService`: a dozen users to begin with, and those created later, in the memory of the instances.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{StreamExt as _, future::BoxFuture};
use platform::{Platform, channel::Connector};
use tokio_stream::Stream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status};

use crate::{
    options::Token,
    pb::user::{
        Address, CreateRequest, GetRequest, ListRequest, ListResponse, UpdateRequest, User,
        WatchRequest, WatchResponse, user_service_client::UserServiceClient,
        user_service_server::UserService, watch_response::Kind,
    },
    peers::{self, Ask},
    settings::Settings,
    store::{Age, Change, PageRequest, Record, Store, age},
    watching::{self, From, Told, draining},
};

mod mask;

/// 1 January 2026, when the first user came.
const FIRST_DAY: u64 = 1_767_225_600;
const LONGEST_NAME: usize = 200;

/// The users of one instance.
#[derive(Clone)]
pub(crate) struct Users {
    store: Arc<Store<User>>,
    settings: Settings,
    instance: Arc<str>,
    peers: Option<Arc<AbortOnDropHandle<()>>>,
}

impl Users {
    pub(crate) fn new(instance: &str, settings: Settings) -> Self {
        Self {
            store: Arc::new(Store::new(seed())),
            settings,
            instance: instance.into(),
            peers: None,
        }
    }

    /// Whether the store still answers, for the liveness probe.
    pub(crate) fn check(
        &self,
    ) -> impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + use<> {
        self.store.check()
    }

    /// The same, told of what the other instances of this service keep.
    pub(crate) fn among(
        mut self,
        platform: &Platform,
        token: Option<Token>,
        connector: Connector,
    ) -> Self {
        let (me, store) = (self.instance.to_string(), Arc::clone(&self.store));
        let view = platform.instances(platform.service());
        let ask = ask(token);
        self.peers = view.map(|view| Arc::new(peers::follow(view, me, store, ask, connector)));
        self
    }

    /// The user as callers see it at this moment: the greeting follows the config, it is not stored.
    fn dress(&self, mut user: User) -> User {
        user.greeting = self
            .settings
            .greeting
            .get()
            .then(|| format!("Hello, {}!", user.name));
        user
    }
}

#[tonic::async_trait]
impl UserService for Users {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<User>, Status> {
        let id = request.into_inner().id;
        let user = self.store.get(&id).ok_or_else(|| unknown(&id))?;
        Ok(Response::new(self.dress(user)))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let request = request.into_inner();
        let wanted = request.name_contains.to_lowercase();
        let page = self.store.page(
            &PageRequest {
                size: request.page_size,
                token: &request.page_token,
                default_size: self.settings.page_size.get(),
            },
            |user| wanted.is_empty() || user.name.to_lowercase().contains(&wanted),
        )?;
        Ok(Response::new(ListResponse {
            users: page
                .records
                .into_iter()
                .map(|user| self.dress(user))
                .collect(),
            next_page_token: page.next,
            total_size: page.total,
        }))
    }

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<User>, Status> {
        let CreateRequest {
            name,
            email,
            tags,
            address,
        } = request.into_inner();
        let user = checked(User {
            name,
            email,
            tags,
            address,
            ..User::default()
        })?;
        let created = self.store.create(|number| {
            // The instance is part of the id because each instance counts for itself.
            let id = format!("{number:x}-{}", self.instance);
            let now = Some(SystemTime::now().into());
            User {
                id,
                created_at: now,
                updated_at: now,
                ..user
            }
        })?;
        Ok(Response::new(self.dress(created)))
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<User>, Status> {
        let UpdateRequest { user, update_mask } = request.into_inner();
        let patch = user.ok_or_else(|| Status::invalid_argument("user: missing"))?;
        let paths = mask::paths(&patch, update_mask)?;
        let id = patch.id.clone();
        let updated = self.store.update(&id, |user| {
            let updated_at = Some(SystemTime::now().into());
            checked(User {
                updated_at,
                ..mask::apply(user, &patch, &paths)?
            })
        })?;
        Ok(Response::new(
            self.dress(updated.ok_or_else(|| unknown(&id))?),
        ))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let from = if request.get_ref().include_existing {
            From::Everything
        } else {
            From::Now
        };
        let users = self.clone();
        let told = watching::watch(&self.store, from, draining(&request));
        Ok(Response::new(Box::pin(told.map(move |told| {
            let (kind, user) = match told? {
                Told::Existing(user) => (Kind::Existing, user),
                Told::Changed(Change::Created(user)) => (Kind::Created, user),
                Told::Changed(Change::Updated(user)) => (Kind::Updated, user),
            };
            Ok(WatchResponse {
                kind: kind.into(),
                user: Some(users.dress(user)),
            })
        }))))
    }
}

impl Record for User {
    fn id(&self) -> &str {
        &self.id
    }

    fn created_at(&self) -> Age {
        age(self.created_at.as_ref())
    }

    fn updated_at(&self) -> Age {
        age(self.updated_at.as_ref())
    }
}

/// Asks a peer for its users.
fn ask(token: Option<Token>) -> Ask<User> {
    Arc::new(move |channel| {
        let request = peers::with_token(
            WatchRequest {
                include_existing: true,
            },
            token.as_ref(),
        );
        Box::pin(async move {
            let told = UserServiceClient::new(channel)
                .watch(request)
                .await?
                .into_inner();
            let users = told.filter_map(|told| async {
                // The greeting is the peer's; ours follows our config.
                let user = told.map(|told| {
                    told.user.map(|user| User {
                        greeting: None,
                        ..user
                    })
                });
                user.transpose()
            });
            Ok(users.boxed())
        })
    })
}

fn unknown(id: &str) -> Status {
    Status::not_found(format!("no user has the id {id:?}"))
}

fn checked(user: User) -> Result<User, Status> {
    let fault = if user.name.trim().is_empty() {
        "name: missing".to_owned()
    } else if user.name.chars().count() > LONGEST_NAME {
        format!("name: longer than {LONGEST_NAME} characters")
    } else if !user.email.is_empty() && !user.email.contains('@') {
        format!("email: {:?} has no @", user.email)
    } else {
        return Ok(user);
    };
    Err(Status::invalid_argument(fault))
}

fn seed() -> impl Iterator<Item = User> {
    const NAMES: [(&str, &str, &str); 12] = [
        ("Ada", "London", "GB"),
        ("Grace", "New York", "US"),
        ("Edsger", "Rotterdam", "NL"),
        ("Barbara", "Los Angeles", "US"),
        ("Alan", "Wilmslow", "GB"),
        ("Hedy", "Vienna", "AT"),
        ("Konrad", "Berlin", "DE"),
        ("Katherine", "Hampton", "US"),
        ("Niklaus", "Winterthur", "CH"),
        ("Radia", "Portsmouth", "US"),
        ("Donald", "Milwaukee", "US"),
        ("Frances", "Peru", "US"),
    ];
    (1_u64..).zip(NAMES).map(|(number, (name, city, country))| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(FIRST_DAY + (number - 1) * 86_400);
        User {
            id: number.to_string(),
            name: name.to_owned(),
            email: format!("{}@example.org", name.to_lowercase()),
            created_at: Some(at.into()),
            tags: Vec::new(),
            address: Some(Address {
                street: String::new(),
                city: city.to_owned(),
                country: country.to_owned(),
            }),
            greeting: None,
            updated_at: Some(at.into()),
        }
    })
}
