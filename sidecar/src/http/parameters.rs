//! The declared parameters in the words of OpenAPI. Knows none of them.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter as Documented, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Required};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::capture::CaptureRequest;
use crate::capture::selector::Selector;
use crate::capture::views;
use crate::parameter::{Parameter, Takes};
use crate::runtime::Runtime;

/// The parameters of a capture, in a query or as the members of a JSON object: there values may be strings, numbers and
/// booleans, and arrays where a parameter can be repeated.
#[derive(Debug)]
pub(super) struct CaptureParameters;

/// The parameters that choose processes.
#[derive(Debug)]
pub(super) struct SelectorParameters;

/// The parameters that choose what of a recording is shown.
#[derive(Debug)]
pub(super) struct ViewParameters;

impl IntoParams for ViewParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Documented> {
        views::parameters().map(|parameter| query(&[], parameter)).collect()
    }
}

impl IntoParams for CaptureParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Documented> {
        CaptureRequest::parameters()
            .map(|(of, parameter)| query(of, parameter))
            .collect()
    }
}

impl IntoParams for SelectorParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Documented> {
        Selector::parameters().map(|parameter| query(&[], parameter)).collect()
    }
}

impl PartialSchema for CaptureParameters {
    fn schema() -> RefOr<Schema> {
        let members = CaptureRequest::parameters().fold(ObjectBuilder::new(), |object, (of, parameter)| {
            let described = one(&parameter.takes, parameter.default).description(Some(description(of, parameter)));
            object.property(parameter.name, shape(parameter, described))
        });
        members.into()
    }
}

impl ToSchema for CaptureParameters {
    fn name() -> Cow<'static, str> {
        "CaptureParameters".into()
    }
}

fn query(of: &[Runtime], parameter: &Parameter) -> Documented {
    ParameterBuilder::new()
        .name(parameter.name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description(of, parameter)))
        .schema(Some(shape(parameter, one(&parameter.takes, parameter.default))))
        .build()
}

fn description(of: &[Runtime], parameter: &Parameter) -> String {
    let of = Runtime::labels(of).map_or_else(String::new, |labels| format!(" ({labels})"));
    let alias = if parameter.flag == parameter.name {
        String::new()
    } else {
        format!(" Also called {}.", parameter.flag)
    };
    let excludes = match parameter.excludes {
        [] => String::new(),
        others => format!(" Not together with {}.", others.join(", ")),
    };
    format!("{}{of}.{alias}{excludes}", parameter.describe())
}

/// One value.
fn one(takes: &Takes, default: Option<&str>) -> ObjectBuilder {
    let object = ObjectBuilder::new();
    let (object, default) = match takes {
        Takes::Number { least, most, .. } => {
            let bounded = object
                .schema_type(Type::Integer)
                .minimum(Some(*least))
                .maximum(Some(*most));
            (bounded, default.and_then(|text| text.parse().ok()).map(Value::Number))
        }
        Takes::Seconds => {
            let default = default.and_then(|text| text.parse().ok()).map(Value::Number);
            (object.schema_type(Type::Integer).minimum(Some(1)), default)
        }
        Takes::Flag => (
            object.schema_type(Type::Boolean),
            default.map(|text| json!(text == "true")),
        ),
        Takes::Name { names, or: None } => {
            let closed = object.schema_type(Type::String).enum_values(Some(names()));
            (closed, default.map(|text| json!(text)))
        }
        Takes::Name { .. } | Takes::Names(_) | Takes::Text(_) => {
            (object.schema_type(Type::String), default.map(|text| json!(text)))
        }
    };
    object.default(default)
}

fn shape(parameter: &Parameter, one: ObjectBuilder) -> RefOr<Schema> {
    if parameter.repeatable {
        ArrayBuilder::new().items(one).into()
    } else {
        one.into()
    }
}
