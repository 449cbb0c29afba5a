//! `order.v1.OrderService`: orders in the memory of the instances. Whether a buyer exists is asked of the service
//! `user`, through discovery, within the hot deadline `timeout.write`.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{StreamExt as _, future::BoxFuture};
use platform::{Platform, channel::Connector};
use tokio_stream::Stream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    options::Token,
    pb::{
        order::{
            ChatRequest, ChatResponse, CreateRequest, GetRequest, ImportResponse, Item,
            ListRequest, ListResponse, Order, Status as Progress, WatchRequest,
            import_response::Failure, order_service_client::OrderServiceClient,
            order_service_server::OrderService,
        },
        user::{self, user_service_client::UserServiceClient},
    },
    peers::{self, Ask},
    settings::{Plain, Settings},
    store::{Age, Change, PageRequest, Record, Store, age},
    watching::{self, From, Told, draining},
};

/// The way to the user service.
pub(crate) type UserClient = UserServiceClient<platform::channel::Channel>;

const MOST_ITEMS: usize = 100;
const LARGEST_QUANTITY: i32 = 10_000;
/// Failures of an import that are named; the others are only counted, so that the answer stays small.
const NAMED_FAILURES: usize = 100;

/// The orders of one instance.
#[derive(Clone)]
pub(crate) struct Orders {
    store: Arc<Store<Order>>,
    users: UserClient,
    /// Shown to the user service, which asks for the same one.
    token: Option<Token>,
    settings: Settings,
    instance: Arc<str>,
    peers: Option<Arc<AbortOnDropHandle<()>>>,
}

impl Orders {
    pub(crate) fn new(
        instance: &str,
        settings: Settings,
        users: UserClient,
        token: Option<Token>,
    ) -> Self {
        let store = Arc::new(Store::new(seed()));
        Self {
            store,
            users,
            token,
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
    pub(crate) fn among(mut self, platform: &Platform, connector: Connector) -> Self {
        let (me, store) = (self.instance.to_string(), Arc::clone(&self.store));
        let (view, ask) = (
            platform.instances(platform.service()),
            ask(self.token.clone()),
        );
        self.peers = view.map(|view| Arc::new(peers::follow(view, me, store, ask, connector)));
        self
    }

    async fn place(&self, request: CreateRequest) -> Result<Order, Status> {
        let total_quantity = checked(&request)?;
        let buyer = self.buyer(&request.user_id).await?;
        self.store.create(|number| Order {
            // The instance is part of the id because each instance counts for itself.
            id: format!("{number:x}-{}", self.instance),
            user_id: request.user_id,
            items: request.items,
            created_at: Some(SystemTime::now().into()),
            status: Progress::Placed.into(),
            user_name: buyer.name,
            total_quantity,
        })
    }

    async fn buyer(&self, id: &str) -> Result<user::User, Status> {
        let timeout = self.settings.write_timeout.get();
        let mut request =
            peers::with_token(user::GetRequest { id: id.to_owned() }, self.token.as_ref());
        request.set_timeout(timeout);
        let mut users = self.users.clone();
        // The header asks the other side to give up in time; this holds when it does not listen.
        let answer = tokio::time::timeout(timeout, users.get(request)).await;
        let late = || {
            Status::deadline_exceeded(format!(
                "user.Get did not answer within timeout.write = {}",
                Plain(timeout)
            ))
        };
        match answer {
            Err(_) => Err(late()),
            Ok(Ok(user)) => Ok(user.into_inner()),
            Ok(Err(status)) => Err(match status.code() {
                Code::NotFound => {
                    Status::failed_precondition(format!("user_id: no user has the id {id:?}"))
                }
                Code::DeadlineExceeded | Code::Cancelled => late(),
                code => Status::new(code, format!("user.Get failed: {}", status.message())),
            }),
        }
    }

    fn reply(&self, said: &str, in_reply_to: i64) -> ChatResponse {
        ChatResponse {
            text: self.answer(said.trim()),
            instance: self.instance.to_string(),
            at: Some(SystemTime::now().into()),
            in_reply_to,
        }
    }

    fn answer(&self, said: &str) -> String {
        match said.split_once(char::is_whitespace) {
            Some(("status", id)) => match self.store.get(id.trim()) {
                Some(order) => format!(
                    "Order {} of {} is {}, {} pieces.",
                    order.id,
                    order.user_name,
                    order.status().as_str_name().to_lowercase(),
                    order.total_quantity
                ),
                None => format!("I know of no order {:?}.", id.trim()),
            },
            _ if said.eq_ignore_ascii_case("help") => "Ask `status 1` for order 1.".to_owned(),
            _ => format!("You said {said:?}. Say `help` to hear what I know."),
        }
    }
}

#[tonic::async_trait]
impl OrderService for Orders {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Order>, Status> {
        let id = request.into_inner().id;
        let order = self.store.get(&id);
        order
            .map(Response::new)
            .ok_or_else(|| Status::not_found(format!("no order has the id {id:?}")))
    }

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<Order>, Status> {
        let timeout = Plain(self.settings.write_timeout.get()).to_string();
        let order = self.place(request.into_inner()).await?;
        let mut response = Response::new(order);
        if let Ok(value) = timeout.parse() {
            response.metadata_mut().insert("x-timeout-write", value);
        }
        Ok(response)
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let request = request.into_inner();
        let page = self.store.page(
            &PageRequest {
                size: request.page_size,
                token: &request.page_token,
                default_size: self.settings.page_size.get(),
            },
            |order| request.user_id.is_empty() || order.user_id == request.user_id,
        )?;
        Ok(Response::new(ListResponse {
            orders: page.records,
            next_page_token: page.next,
            total_size: page.total,
        }))
    }

    async fn import(
        &self,
        request: Request<Streaming<CreateRequest>>,
    ) -> Result<Response<ImportResponse>, Status> {
        let mut orders = request.into_inner();
        let mut outcome = ImportResponse::default();
        let mut index = 0_i32;
        while let Some(order) = orders.message().await? {
            match self.place(order).await {
                Ok(order) => {
                    outcome.imported += 1;
                    outcome.ids.push(order.id);
                }
                Err(status) => {
                    outcome.failed += 1;
                    if outcome.failures.len() < NAMED_FAILURES {
                        let (code, message) = (status.code().into(), status.message().to_owned());
                        outcome.failures.push(Failure {
                            index,
                            code,
                            message,
                        });
                    }
                }
            }
            index = index.saturating_add(1);
        }
        Ok(Response::new(outcome))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<Order, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let from = if request.get_ref().include_existing {
            From::Everything
        } else {
            From::Now
        };
        let told = watching::watch(&self.store, from, draining(&request));
        Ok(Response::new(Box::pin(told.map(|told| match told? {
            Told::Existing(order)
            | Told::Changed(Change::Created(order) | Change::Updated(order)) => Ok(order),
        }))))
    }

    type ChatStream = Pin<Box<dyn Stream<Item = Result<ChatResponse, Status>> + Send>>;

    async fn chat(
        &self,
        request: Request<Streaming<ChatRequest>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        let orders = self.clone();
        let draining = draining(&request);
        let replies = request
            .into_inner()
            .zip(futures::stream::iter(1_i64..))
            .map(move |(said, number)| said.map(|said| orders.reply(&said.text, number)));
        // A chat has no end of its own that a drain could wait for.
        Ok(Response::new(Box::pin(watching::until_drained(
            draining, replies,
        ))))
    }
}

impl Record for Order {
    fn id(&self) -> &str {
        &self.id
    }

    fn created_at(&self) -> Age {
        age(self.created_at.as_ref())
    }

    /// Orders do not change.
    fn updated_at(&self) -> Age {
        age(self.created_at.as_ref())
    }
}

/// Asks a peer for its orders.
fn ask(token: Option<Token>) -> Ask<Order> {
    Arc::new(move |channel| {
        let request = peers::with_token(
            WatchRequest {
                include_existing: true,
            },
            token.as_ref(),
        );
        Box::pin(async move {
            Ok(OrderServiceClient::new(channel)
                .watch(request)
                .await?
                .into_inner()
                .boxed())
        })
    })
}

/// The sum of the quantities of an order that can be placed.
fn checked(request: &CreateRequest) -> Result<i64, Status> {
    let fault = |text: String| Err(Status::invalid_argument(text));
    if request.user_id.is_empty() {
        return fault("user_id: missing".into());
    }
    if request.items.is_empty() || request.items.len() > MOST_ITEMS {
        return fault(format!(
            "items: {} of them, an order has 1 to {MOST_ITEMS}",
            request.items.len()
        ));
    }
    let mut total = 0_i64;
    for (index, item) in request.items.iter().enumerate() {
        if item.sku.trim().is_empty() {
            return fault(format!("items[{index}].sku: missing"));
        }
        if !(1..=LARGEST_QUANTITY).contains(&item.quantity) {
            let quantity = item.quantity;
            return fault(format!(
                "items[{index}].quantity: {quantity} is not within 1 to {LARGEST_QUANTITY}"
            ));
        }
        total += i64::from(item.quantity);
    }
    Ok(total)
}

fn seed() -> impl Iterator<Item = Order> {
    const FIRST_DAY: u64 = 1_769_904_000;
    type Seed = (&'static str, &'static str, &'static [(&'static str, i32)]);
    const ORDERS: [Seed; 3] = [
        ("1", "Ada", &[("ENGINE-1", 1), ("CARD-80", 500)]),
        ("2", "Grace", &[("MOTH-1", 1)]),
        ("1", "Ada", &[("LOOM-2", 2)]),
    ];
    (1_u64..)
        .zip(ORDERS)
        .map(|(number, (user_id, user_name, items))| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(FIRST_DAY + number * 3_600);
            Order {
                id: number.to_string(),
                user_id: user_id.to_owned(),
                items: items
                    .iter()
                    .map(|&(sku, quantity)| Item {
                        sku: sku.to_owned(),
                        quantity,
                    })
                    .collect(),
                created_at: Some(at.into()),
                status: Progress::Shipped.into(),
                user_name: user_name.to_owned(),
                total_quantity: items.iter().map(|&(_, quantity)| i64::from(quantity)).sum(),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_cannot_be_placed_names_its_fault() {
        let item = |sku: &str, quantity| Item {
            sku: sku.into(),
            quantity,
        };
        let table = [
            ("", vec![item("A", 1)], Err("user_id")),
            ("1", vec![], Err("items: 0")),
            ("1", vec![item("A", 1); 101], Err("items: 101")),
            ("1", vec![item("A", 1), item(" ", 1)], Err("items[1].sku")),
            ("1", vec![item("A", 0)], Err("items[0].quantity: 0")),
            (
                "1",
                vec![item("A", 10_001)],
                Err("items[0].quantity: 10001"),
            ),
            ("1", vec![item("A", 2), item("B", 3)], Ok(5)),
        ];
        for (user_id, items, expected) in table {
            let result = checked(&CreateRequest {
                user_id: user_id.into(),
                items,
            });
            match (result, expected) {
                (Ok(total), Ok(expected)) => assert_eq!(total, expected),
                (Err(error), Err(word)) => assert!(error.message().contains(word), "{error}"),
                (result, expected) => panic!("{result:?}, expected {expected:?}"),
            }
        }
    }
}
