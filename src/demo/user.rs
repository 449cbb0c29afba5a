//! `user.v1.UserService`: a dozen users to begin with, and those created later, in this instance's memory.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use platform::server::Draining;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::{
    pb::user::{
        Address, CreateRequest, GetRequest, ListRequest, ListResponse, UpdateRequest, User,
        WatchRequest, WatchResponse, user_service_server::UserService, watch_response::Kind,
    },
    settings::Settings,
    store::{Change, PageRequest, Store},
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
}

impl Users {
    pub(crate) fn new(instance: &str, settings: Settings) -> Self {
        Self {
            store: Arc::new(Store::new(seed())),
            settings,
            instance: instance.into(),
        }
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
            let id = format!("{number}-{}", self.instance);
            (
                id.clone(),
                User {
                    id,
                    created_at: Some(SystemTime::now().into()),
                    ..user
                },
            )
        })?;
        Ok(Response::new(self.dress(created)))
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<User>, Status> {
        let UpdateRequest { user, update_mask } = request.into_inner();
        let patch = user.ok_or_else(|| Status::invalid_argument("user: missing"))?;
        let paths = mask::paths(&patch, update_mask)?;
        let id = patch.id.clone();
        let updated = self
            .store
            .update(&id, |user| checked(mask::apply(user, &patch, &paths)?))?;
        Ok(Response::new(
            self.dress(updated.ok_or_else(|| unknown(&id))?),
        ))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let draining = request.extensions().get::<Draining>().cloned();
        let (existing, changes) = self.store.watch();
        let existing = if request.get_ref().include_existing {
            existing
        } else {
            Vec::new()
        };
        let first: Vec<_> = existing
            .into_iter()
            .map(|user| Ok(self.event(Kind::Existing, user)))
            .collect();
        let users = self.clone();
        let later = futures::stream::unfold(Some((changes, draining)), move |state| {
            let users = users.clone();
            async move { users.next_event(state?).await }
        });
        Ok(Response::new(Box::pin(futures::StreamExt::chain(
            futures::stream::iter(first),
            later,
        ))))
    }
}

/// What a watcher waits on: the next change, or the end of the instance.
type Watching = (broadcast::Receiver<Change<User>>, Option<Draining>);

impl Users {
    fn event(&self, kind: Kind, user: User) -> WatchResponse {
        WatchResponse {
            kind: kind.into(),
            user: Some(self.dress(user)),
        }
    }

    /// The next change; a stream that cannot go on says why, once, and ends.
    async fn next_event(
        &self,
        (mut changes, draining): Watching,
    ) -> Option<(Result<WatchResponse, Status>, Option<Watching>)> {
        let drained = async {
            match &draining {
                Some(draining) => draining.begun().await,
                None => std::future::pending().await,
            }
        };
        let change = tokio::select! {
            change = changes.recv() => change,
            () = drained => {
                let gone = Status::unavailable("this instance is going away. Watch again on another");
                return Some((Err(gone), None));
            }
        };
        let event = match change {
            Ok(Change::Created(user)) => self.event(Kind::Created, user),
            Ok(Change::Updated(user)) => self.event(Kind::Updated, user),
            Err(RecvError::Lagged(missed)) => {
                let message =
                    format!("{missed} changes came faster than they were read. Watch again");
                return Some((Err(Status::data_loss(message)), None));
            }
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), Some((changes, draining))))
    }
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

fn seed() -> impl Iterator<Item = (String, User)> {
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
        let user = User {
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
        };
        (user.id.clone(), user)
    })
}
