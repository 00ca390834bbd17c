//! Entra activation: a user pastes the activation key once, and his whole tenant is bound.
//!
//! Who he is says his token alone. What is wrong with a key is told to nobody: one answer for keys
//! that are unknown, revoked, of another product or bound elsewhere, and after a few of them none
//! is judged any more for a while.
//!
//! Source: contract section 5; `visuals-and-isv.md` section 1.5.

use std::time::Instant;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use tracing::info;
use utoipa::ToSchema;

use super::question::product;
use super::{Public, Shared, body, client_of, grid};
use crate::domain::{
    Activation, ActivationKey, ActivationWrite, BindRequest, Binding, Cause, Change, Commit,
    HybridMode, Mirror, UserId,
};
use crate::http::licenses::rows::ActivationRow;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::serve::Peer;
use crate::http::who::Asker;
use crate::store::StoreError;

/// An activation key, as it was pasted.
#[derive(Deserialize, ToSchema)]
#[schema(as = ActivationRequest)]
pub(super) struct ActivationBody {
    /// The product's id.
    #[schema(value_type = String)]
    product: Option<String>,
    /// The activation key; case, spaces and dashes do not count.
    #[schema(value_type = String)]
    key: Option<Value>,
}

/// Binds a license to the tenant of the user who pasted its key. Again changes nothing.
#[utoipa::path(
    post, path = "/v1/activations", tag = "activations",
    request_body = ActivationBody,
    responses(
        (status = 201, description = "The tenant is bound; on disk before this answer", body = ActivationRow),
        (status = 200, description = "It was bound to this license already", body = ActivationRow),
        (status = 400, description = "The body is no JSON object", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No user token, or a bad one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`key-not-accepted`: the key is not for this product and tenant; `forbidden`: a caller key, or a personal account", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such product", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many keys that were not accepted: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be written down: see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("user_token" = [])),
)]
pub(super) async fn activate(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let came = Instant::now();
    let (head, body) = request.into_parts();
    let public = &shared.public;
    let ip = client_of(head.extensions.get::<Peer>(), &head.headers);
    let (tenant, user) = match public.who(&head.headers, ip).await? {
        Asker::User(user) => {
            let personal = "a personal account cannot be bound: sign in with a work account";
            (user.tenant.ok_or_else(|| Problem::forbidden(personal))?, user.user)
        }
        Asker::Caller(_) => {
            let detail = "activation needs the token of a user of the tenant, not a caller key";
            return Err(Problem::forbidden(detail));
        }
        Asker::Nobody => return Err(Problem::unauthorized("send the user's token")),
    };
    let bytes = body::read(body, &head.headers, shared.body_bytes).await?;
    let asked: ActivationBody = body::json(&bytes)?;
    let product = product(asked.product.as_deref(), public)?;
    let missing = || Problem::invalid("send the activation key").of_field("key");
    let key = asked.key.ok_or_else(missing)?;
    let key = key.as_str().filter(|it| !it.trim().is_empty()).ok_or_else(missing)?;
    public.limiters.may_activate(tenant, ip, Instant::now()).map_err(|it| public.limited(it))?;
    let takes_keys = product.hybrid == HybridMode::Entra;
    let key: Option<ActivationKey> = key.parse().ok().filter(|_| takes_keys);
    // What is no key at all is looked up too, so that it takes as long.
    let nothing = ActivationKey::from_random([0; ActivationKey::RANDOM]);
    let request = BindRequest {
        product: product.id.clone(),
        key_hash: public.store.hash_key(key.as_ref().unwrap_or(&nothing)),
        tenant,
        user,
        id: public.store.new_activation_id().map_err(unwritten)?,
        now: public.now(),
    };
    let (status, bound) = match public.bind(request).await? {
        Binding::New(it) => (StatusCode::CREATED, it),
        Binding::Already(it) => (StatusCode::OK, it),
        Binding::Refused => {
            public.limiters.failed_to_activate(tenant, ip, Instant::now());
            grid::refused(came).await;
            return Err(Problem::key_not_accepted(
                "this activation key is not accepted for this product and tenant: check that all \
                 of it was pasted, or ask whom you have it from",
            ));
        }
    };
    Ok((status, [(header::CACHE_CONTROL, "no-store")], Json(ActivationRow::from(&bound)))
        .into_response())
}

impl Public {
    /// Binds, on disk before it returns. A wrong key is found out without the thread that writes.
    async fn bind(&self, request: BindRequest) -> Result<Binding, Problem> {
        match self.store.mirror().licenses().bind_by_key(&request) {
            Binding::New(_) => {}
            known @ (Binding::Already(_) | Binding::Refused) => return Ok(known),
        }
        let tenant = request.tenant;
        let decided = self.store.decide(move |mirror| {
            let binding = mirror.licenses().bind_by_key(&request);
            let commit = match &binding {
                Binding::New(it) => Some(commit(mirror, it, Some(request.user))),
                Binding::Already(_) | Binding::Refused => None,
            };
            (commit, binding)
        });
        let binding = decided.await.map_err(unwritten)?;
        if let Binding::New(it) = &binding {
            let (license, tenant) = (it.license.as_str(), tracing::field::display(tenant));
            info!(license.id = license, tenant.id = tenant, "A tenant was bound to a license");
        }
        Ok(binding)
    }
}

/// The activation, its journal with the user who brought it about, and the tenant, should it be new: it
/// is looked at from now on.
pub(super) fn commit(mirror: &Mirror, it: &Activation, user: Option<UserId>) -> Commit {
    let bound = Change::of_activation(it.at, Cause::Activation, None, Some(it));
    let changes = vec![Change { user, ..bound }];
    let activations = vec![ActivationWrite::Put(it.clone())];
    let mut commit = Commit { activations, changes, ..Commit::default() };
    if let Some(tenant) = it.tenant {
        commit.hear_of(mirror, tenant, &Cause::Activation, it.at);
    }
    commit
}

fn unwritten(error: StoreError) -> Problem {
    let detail = "the activation cannot be written down: try again in a moment";
    Problem::unavailable(detail).retry_after(5).because(error)
}
