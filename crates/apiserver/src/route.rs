//! From a request to a verb, and from what the verb did to a response.

use ::http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    Server,
    body::ResponseBody,
    collect::{self, DeleteOptions},
    discovery,
    error::{self, ApiError, Result},
    patch::{self, PatchType},
    protobuf,
    query::{self, Query},
    schema::Strictness,
    select::{FieldSelector, Filter, LabelSelector},
    shape::Shape,
    store::{Key, Route, State, Stored},
    watch::{self, WatchOptions},
    write::{Part, WriteOptions, Written},
};

/// An answer before it is a response.
pub(crate) enum Answer {
    Bytes(StatusCode, Bytes, Vec<String>),
    Text(&'static str),
    Watch(Box<watch::WatchStream>),
    Typed(&'static str, Bytes),
}

/// The request, read.
struct Call<'a> {
    server: &'a Server,
    method: &'a Method,
    query: Query,
    accept: &'a str,
    content_type: &'a str,
    body: &'a Bytes,
    agent: &'a str,
}

/// What a path names.
struct Target {
    route: Route,
    /// Absent: every namespace (or cluster-wide).
    namespace: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
}

/// Answer a request.
pub(crate) fn answer(server: &Server, head: &Parts, body: &Bytes) -> Response<ResponseBody> {
    let header = |name: header::HeaderName| {
        head.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let call = Call {
        server,
        method: &head.method,
        query: Query::parse(head.uri.query().unwrap_or_default()),
        accept: header(header::ACCEPT),
        content_type: header(header::CONTENT_TYPE),
        body,
        agent: header(header::USER_AGENT),
    };
    respond(call.dispatch(head.uri.path()))
}

/// The body could not be read.
pub(crate) fn unreadable() -> Response<ResponseBody> {
    respond(Err(ApiError::bad_request(
        "the body of the request could not be read",
    )))
}

fn respond(answer: Result<Answer>) -> Response<ResponseBody> {
    let (code, media, body, warnings) = match answer {
        Ok(Answer::Bytes(code, bytes, warnings)) => (
            code,
            "application/json",
            ResponseBody::once(bytes),
            warnings,
        ),
        Ok(Answer::Typed(media, bytes)) => {
            (StatusCode::OK, media, ResponseBody::once(bytes), Vec::new())
        }
        Ok(Answer::Text(text)) => {
            let body = ResponseBody::once(Bytes::from_static(text.as_bytes()));
            (
                StatusCode::OK,
                "text/plain; charset=utf-8",
                body,
                Vec::new(),
            )
        }
        Ok(Answer::Watch(stream)) => (
            StatusCode::OK,
            "application/json",
            ResponseBody::watch(*stream),
            Vec::new(),
        ),
        Err(error) => {
            let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::BAD_REQUEST);
            (
                code,
                "application/json",
                ResponseBody::once(error.body()),
                Vec::new(),
            )
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

fn ok(value: &Value) -> Answer {
    Answer::Bytes(StatusCode::OK, Bytes::from(value.to_string()), Vec::new())
}

impl Call<'_> {
    fn dispatch(&self, path: &str) -> Result<Answer> {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| query::decode(segment, false))
            .collect();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["healthz" | "livez" | "readyz", ..] => Ok(Answer::Text("ok")),
            [] | ["version" | "api" | "apis" | "openapi", ..]
                if discovery::is_discovery(&parts) && *self.method == Method::GET =>
            {
                discovery::answer(&self.server.lock(), &parts, self.accept)
            }
            ["api", version, rest @ ..] => self.resource("", version, rest),
            ["apis", group, version, rest @ ..] => self.resource(group, version, rest),
            _ => Err(ApiError::no_such_path()),
        }
    }

    fn resource(&self, group: &str, version: &str, rest: &[&str]) -> Result<Answer> {
        let mut state = self.server.lock();
        let target = find(&state, group, version, rest)?;
        match (&target.name, target.subresource.as_deref()) {
            (None, _) => match *self.method {
                Method::GET => self.list_or_watch(&mut state, &target),
                Method::POST => self.create(&mut state, &target),
                Method::DELETE => self.delete_all(&mut state, &target),
                _ => Err(ApiError::method_not_allowed()),
            },
            (Some(name), None) => {
                let key = Self::key(&target, name)?;
                match *self.method {
                    Method::GET if self.query.flag("watch") == Some(true) => {
                        self.watch(&mut state, &target)
                    }
                    Method::GET => {
                        let stored = existing(&state, &target.route, &key)?;
                        Ok(self.object(&state, &target.route, &stored, StatusCode::OK, vec![]))
                    }
                    Method::PUT => self.update(&mut state, &target.route, &key, Part::Main),
                    Method::PATCH => self.patch(&mut state, &target.route, &key, Part::Main),
                    Method::DELETE => self.delete(&mut state, &target.route, &key),
                    _ => Err(ApiError::method_not_allowed()),
                }
            }
            (Some(name), Some(subresource)) => {
                let key = Self::key(&target, name)?;
                self.subresource(&mut state, &target.route, &key, subresource)
            }
        }
    }

    fn key(target: &Target, name: &str) -> Result<Key> {
        if target.route.shown.namespaced && target.namespace.is_none() {
            return Err(ApiError::no_such_path());
        }
        Ok(Key::new(
            target.namespace.as_deref().unwrap_or_default(),
            name,
        ))
    }

    fn subresource(
        &self,
        state: &mut State,
        route: &Route,
        key: &Key,
        subresource: &str,
    ) -> Result<Answer> {
        let dry_run = self.write_options().dry_run;
        let is_pod = route.shown.is_pod();
        match (subresource, self.method) {
            ("status", _) if route.shown.versions[route.version].status => match *self.method {
                Method::GET => {
                    let stored = existing(state, route, key)?;
                    Ok(self.object(state, route, &stored, StatusCode::OK, Vec::new()))
                }
                Method::PUT => self.update(state, route, key, Part::Status),
                Method::PATCH => self.patch(state, route, key, Part::Status),
                _ => Err(ApiError::method_not_allowed()),
            },
            ("scale", &Method::GET) => Ok(ok(&state.scale(route, key)?)),
            ("scale", &Method::PUT) => {
                let body = self.parse()?;
                let change = |scale: &mut Value| {
                    *scale = body;
                    Ok(())
                };
                let (scale, written) = state.rescale(route, key, change, &self.write_options())?;
                Ok(Answer::Bytes(
                    StatusCode::OK,
                    scale.to_string().into(),
                    written.warnings,
                ))
            }
            ("scale", &Method::PATCH) => {
                let body = self.parse()?;
                let change = |scale: &mut Value| match PatchType::parse(self.content_type)? {
                    PatchType::Json => patch::json(scale, &body),
                    PatchType::Merge | PatchType::Strategic | PatchType::Apply => {
                        patch::merge(scale, &body)
                    }
                };
                let (scale, written) = state.rescale(route, key, change, &self.write_options())?;
                Ok(Answer::Bytes(
                    StatusCode::OK,
                    scale.to_string().into(),
                    written.warnings,
                ))
            }
            ("binding", &Method::POST) if is_pod => {
                let answer = state.bind(route, key, &self.parse()?, dry_run)?;
                Ok(Answer::Bytes(
                    StatusCode::CREATED,
                    answer.to_string().into(),
                    Vec::new(),
                ))
            }
            ("eviction", &Method::POST) if is_pod => {
                let answer = state.evict(route, key, &self.parse()?, dry_run)?;
                Ok(Answer::Bytes(
                    StatusCode::CREATED,
                    answer.to_string().into(),
                    Vec::new(),
                ))
            }
            ("log" | "exec" | "attach" | "portforward" | "proxy", _) => {
                Err(ApiError::not_implemented(format!(
                    "this cluster is simulated: no container runs in it, so there is no {subresource}"
                )))
            }
            _ => Err(ApiError::no_such_path()),
        }
    }

    fn parse(&self) -> Result<Value> {
        if self.content_type.contains("protobuf") {
            return protobuf::decode(self.body);
        }
        if self.content_type.contains("yaml") {
            let text = std::str::from_utf8(self.body)
                .map_err(|_| ApiError::bad_request("the body is not UTF-8"))?;
            return serde_saphyr::from_str(text)
                .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")));
        }
        serde_json::from_slice(self.body)
            .map_err(|error| ApiError::bad_request(format!("error decoding JSON: {error}")))
    }

    fn write_options(&self) -> WriteOptions {
        let manager = self.query.get("fieldManager").map_or_else(
            || self.agent.split('/').next().unwrap_or_default().to_owned(),
            str::to_owned,
        );
        WriteOptions {
            dry_run: self.query.get("dryRun").is_some(),
            strictness: Strictness::parse(self.query.get("fieldValidation")),
            manager,
        }
    }

    fn shape(&self, state: &State) -> Shape {
        Shape::parse(self.accept, self.query.get("includeObject"), state.now())
    }

    fn object(
        &self,
        state: &State,
        route: &Route,
        stored: &Stored,
        code: StatusCode,
        warnings: Vec<String>,
    ) -> Answer {
        Answer::Bytes(code, self.shape(state).one(route, stored), warnings)
    }

    fn written(&self, state: &State, route: &Route, written: Written) -> Answer {
        let code = if written.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        self.object(state, route, &written.stored, code, written.warnings)
    }

    fn create(&self, state: &mut State, target: &Target) -> Result<Answer> {
        let value = self.parse()?;
        if target.route.shown.namespaced && target.namespace.is_none() {
            return Err(ApiError::method_not_allowed());
        }
        let namespace = target.namespace.as_deref().unwrap_or_default();
        let written = state.create(&target.route, namespace, value, &self.write_options())?;
        Ok(self.written(state, &target.route, written))
    }

    fn update(&self, state: &mut State, route: &Route, key: &Key, part: Part) -> Result<Answer> {
        let value = self.parse()?;
        let written = state.update(route, key, value, part, &self.write_options())?;
        Ok(self.written(state, route, written))
    }

    fn patch(&self, state: &mut State, route: &Route, key: &Key, part: Part) -> Result<Answer> {
        let kind = PatchType::parse(self.content_type)?;
        let patch = self.parse()?;
        let options = self.write_options();
        let written = state.patch(route, key, (kind, &patch), part, &options)?;
        Ok(self.written(state, route, written))
    }

    fn delete_options(&self) -> Result<DeleteOptions> {
        let mut options = DeleteOptions {
            grace: self.query.number("gracePeriodSeconds"),
            dry_run: self.query.get("dryRun").is_some(),
            ..DeleteOptions::default()
        };
        if let Some(policy) = self.query.get("propagationPolicy") {
            options.propagation = collect::propagation(policy);
        }
        if self.body.is_empty() {
            Ok(options)
        } else {
            Ok(options.with_body(&self.parse()?))
        }
    }

    fn delete(&self, state: &mut State, route: &Route, key: &Key) -> Result<Answer> {
        let options = self.delete_options()?;
        let (stored, gone) = state.delete(route.id, key, &options)?;
        // Upstream: pods are shown as they went, other kinds answer with a status.
        if gone && !route.shown.is_pod() {
            return Ok(ok(&error::success(
                &route.shown,
                &key.name,
                &stored.meta.uid,
            )));
        }
        Ok(self.object(state, route, &stored, StatusCode::OK, Vec::new()))
    }

    fn delete_all(&self, state: &mut State, target: &Target) -> Result<Answer> {
        let options = self.delete_options()?;
        let filter = self.filter(target)?;
        let items: Vec<Stored> = state
            .collection(target.route.id)
            .list(&filter, None)
            .cloned()
            .collect();
        for item in &items {
            match state.delete(target.route.id, &item.meta.key, &options) {
                Ok(_) => {}
                Err(error) if error.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let metadata = json!({"resourceVersion": state.revision.to_string()});
        let items: Vec<&Stored> = items.iter().collect();
        let bytes = Shape::Full.many(&target.route, &items, metadata);
        Ok(Answer::Bytes(StatusCode::OK, bytes, Vec::new()))
    }

    fn filter(&self, target: &Target) -> Result<Filter> {
        let mut fields = match self.query.get("fieldSelector") {
            Some(text) => FieldSelector::parse(text, &target.route.shown)?,
            None => FieldSelector::default(),
        };
        if let Some(name) = &target.name {
            fields = fields.and(FieldSelector::named(name));
        }
        let labels = match self.query.get("labelSelector") {
            Some(text) => LabelSelector::parse(text)?,
            None => LabelSelector::default(),
        };
        Ok(Filter {
            namespace: target.namespace.clone(),
            labels,
            fields,
        })
    }

    fn list_or_watch(&self, state: &mut State, target: &Target) -> Result<Answer> {
        if self.query.flag("watch") == Some(true) {
            return self.watch(state, target);
        }
        let filter = self.filter(target)?;
        let shape = self.shape(state);
        let mut revision = state.revision;
        let mut after = None;
        if let Some(token) = self.query.get("continue") {
            let (from, key) = read_continue(token)?;
            (revision, after) = (from, Some(key));
        }
        let limit = self
            .query
            .number("limit")
            .and_then(|limit| usize::try_from(limit).ok());
        let mut items: Vec<&Stored> = state
            .collection(target.route.id)
            .list(&filter, after.as_ref())
            .collect();
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if let Some(limit) = limit.filter(|limit| *limit > 0 && items.len() > *limit) {
            let last = &items[limit - 1].meta.key;
            metadata["continue"] = json!(format!("{revision}/{}/{}", last.namespace, last.name));
            metadata["remainingItemCount"] = json!(items.len() - limit);
            items.truncate(limit);
        }
        let bytes = shape.many(&target.route, &items, metadata);
        Ok(Answer::Bytes(StatusCode::OK, bytes, Vec::new()))
    }

    fn watch(&self, state: &mut State, target: &Target) -> Result<Answer> {
        let options = WatchOptions {
            resource_version: self
                .query
                .get("resourceVersion")
                .unwrap_or_default()
                .to_owned(),
            bookmarks: self.query.flag("allowWatchBookmarks") == Some(true),
            initial: self.query.flag("sendInitialEvents"),
            timeout: self.query.seconds("timeoutSeconds"),
        };
        if options.initial.is_some()
            && self.query.get("resourceVersionMatch") != Some("NotOlderThan")
        {
            return Err(ApiError::unprocessable(
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
                 sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        let filter = self.filter(target)?;
        let shape = self.shape(state);
        let stream = watch::open(self.server, state, &target.route, &filter, shape, &options)?;
        Ok(Answer::Watch(Box::new(stream)))
    }
}

/// The object, or 404.
fn existing(state: &State, route: &Route, key: &Key) -> Result<Stored> {
    state
        .get(route.id, key)
        .cloned()
        .ok_or_else(|| ApiError::not_found(&route.shown, &key.name))
}

/// Which collection and object a path names.
fn find(state: &State, group: &str, version: &str, rest: &[&str]) -> Result<Target> {
    let route = |plural: &str| {
        state
            .routes
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
            .cloned()
            .ok_or_else(ApiError::no_such_path)
    };
    let own = |text: &str| Some(text.to_owned());
    let target = |route: Route, namespace, name, subresource| Target {
        route,
        namespace,
        name,
        subresource,
    };
    match rest {
        ["namespaces", name, "status"] => {
            Ok(target(route("namespaces")?, None, own(name), own("status")))
        }
        ["namespaces", namespace, plural] => Ok(target(route(plural)?, own(namespace), None, None)),
        ["namespaces", namespace, plural, name] => {
            Ok(target(route(plural)?, own(namespace), own(name), None))
        }
        ["namespaces", namespace, plural, name, subresource, ..] => Ok(target(
            route(plural)?,
            own(namespace),
            own(name),
            own(subresource),
        )),
        [plural] => Ok(target(route(plural)?, None, None, None)),
        [plural, name] => Ok(target(route(plural)?, None, own(name), None)),
        [plural, name, subresource, ..] => {
            Ok(target(route(plural)?, None, own(name), own(subresource)))
        }
        [] => Err(ApiError::no_such_path()),
    }
    .and_then(|found| {
        // A namespaced path to a cluster-wide kind names nothing.
        if found.namespace.is_some() && !found.route.shown.namespaced {
            return Err(ApiError::no_such_path());
        }
        Ok(found)
    })
}

/// `revision/namespace/name`: the page goes on after that key, and a watch from that revision sees
/// what changed meanwhile.
fn read_continue(token: &str) -> Result<(u64, Key)> {
    let mut parts = token.splitn(3, '/');
    let parsed = (|| {
        let revision = parts.next()?.parse().ok()?;
        Some((revision, Key::new(parts.next()?, parts.next()?)))
    })();
    parsed.ok_or_else(|| ApiError::bad_request("continue key is not valid"))
}
