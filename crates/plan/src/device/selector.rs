//! Conditions on devices in the Common Expression Language, with the environment that Kubernetes gives
//! them: `device.driver`, `device.attributes["domain"].name`, `device.capacity["domain"].name` and
//! `device.allowMultipleAllocations` (section 9.7 of scheduling.md).
//!
//! A text is compiled once. A domain that a device does not know is an empty map, as in Kubernetes, while
//! a name that its domain does not have is an error of the evaluation.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use kube_cel::{
    KubeCelExt,
    cel::{
        Context, Program, Value,
        common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators},
        objects::{Key, Map},
    },
};

use super::{Attribute, Device, split_name};

/// A condition that compiles.
#[derive(Debug)]
pub struct Selector {
    text: Arc<str>,
    program: Program,
    /// Domains that the text asks for by name.
    domains: Vec<String>,
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What a condition says of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not hold.
    Fails,
    /// It has no value for this device, and why.
    Error(Arc<str>),
}

impl Selector {
    /// Compiles a condition; the error says what is wrong with the text.
    pub fn compile(text: &str) -> Result<Self, Arc<str>> {
        let program = Program::compile(text).map_err(|error| Arc::from(error.to_string()))?;
        let mut domains = Vec::new();
        collect_domains(program.expression(), &mut domains);
        Ok(Self {
            text: text.into(),
            program,
            domains,
        })
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Evaluates conditions; holds the functions that they may call.
pub struct Evaluator {
    context: Context<'static>,
    quantity: Option<Program>,
    version: Option<Program>,
}

impl core::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Evaluator").finish_non_exhaustive()
    }
}

impl Default for Evaluator {
    fn default() -> Self {
        Self {
            context: Context::default().with_all(),
            // Both are of this file, and a test sees that they compile.
            quantity: Program::compile("quantity(text)").ok(),
            version: Program::compile("semver(text)").ok(),
        }
    }
}

impl Evaluator {
    /// Whether the condition holds for the device.
    pub fn verdict(&self, selector: &Selector, device: &Device) -> Verdict {
        let mut context = self.context.new_inner_scope();
        context.add_variable_from_value("device", self.value(device, &selector.domains));
        match selector.program.execute(&context) {
            Ok(Value::Bool(true)) => Verdict::Holds,
            Ok(Value::Bool(false)) => Verdict::Fails,
            Ok(_) => Verdict::Error("the expression is not a truth value".into()),
            Err(error) => Verdict::Error(error.to_string().into()),
        }
    }

    fn value(&self, device: &Device, domains: &[String]) -> Value {
        let attributes = device.attributes.iter().map(|(name, attribute)| {
            let value = match attribute {
                Attribute::Boolean(value) => Value::Bool(*value),
                Attribute::Integer(value) => Value::Int(*value),
                Attribute::Text(text) => string(text),
                Attribute::Version(text) => self.parsed(self.version.as_ref(), text),
            };
            (split_name(name), value)
        });
        let capacity = device.capacity.iter().map(|(name, capacity)| {
            let text = capacity.value.to_string();
            (split_name(name), self.parsed(self.quantity.as_ref(), &text))
        });
        map([
            ("driver".to_string(), string(&device.name.driver)),
            (
                "allowMultipleAllocations".to_string(),
                Value::Bool(device.is_shared),
            ),
            ("attributes".to_string(), by_domain(attributes, domains)),
            ("capacity".to_string(), by_domain(capacity, domains)),
        ])
    }

    /// A value that only a function of the language makes; the text itself if it makes none.
    fn parsed(&self, program: Option<&Program>, text: &str) -> Value {
        let mut context = self.context.new_inner_scope();
        context.add_variable_from_value("text", string(text));
        let value = program.and_then(|program| program.execute(&context).ok());
        value.unwrap_or_else(|| string(text))
    }
}

fn string(text: &str) -> Value {
    Value::String(Arc::new(text.to_string()))
}

fn map(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    let entries = entries
        .into_iter()
        .map(|(name, value)| (Key::String(Arc::new(name)), value));
    Value::Map(Map {
        map: Arc::new(entries.collect()),
    })
}

fn by_domain(
    entries: impl Iterator<Item = ((String, String), Value)>,
    domains: &[String],
) -> Value {
    let mut all: BTreeMap<String, Vec<(String, Value)>> = domains
        .iter()
        .map(|domain| (domain.clone(), Vec::new()))
        .collect();
    for ((domain, name), value) in entries {
        all.entry(domain).or_default().push((name, value));
    }
    map(all
        .into_iter()
        .map(|(domain, entries)| (domain, map(entries))))
}

/// Texts by which something is indexed.
fn collect_domains(expression: &IdedExpr, domains: &mut Vec<String>) {
    match &expression.expr {
        Expr::Call(call) => {
            let is_index =
                call.func_name == operators::INDEX || call.func_name == operators::OPT_INDEX;
            if let ([_, index], true) = (call.args.as_slice(), is_index)
                && let Expr::Literal(LiteralValue::String(text)) = &index.expr
            {
                domains.push(text.inner().to_string());
            }
            let target = call.target.iter().map(|target| &**target);
            for part in target.chain(&call.args) {
                collect_domains(part, domains);
            }
        }
        Expr::Comprehension(parts) => {
            for part in [
                &parts.iter_range,
                &parts.accu_init,
                &parts.loop_cond,
                &parts.loop_step,
                &parts.result,
            ] {
                collect_domains(part, domains);
            }
        }
        Expr::List(list) => {
            for element in &list.elements {
                collect_domains(element, domains);
            }
        }
        Expr::Map(entries) => {
            for entry in &entries.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    collect_domains(&entry.key, domains);
                    collect_domains(&entry.value, domains);
                }
            }
        }
        Expr::Select(select) => collect_domains(&select.operand, domains),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use karpenter_api::Quantity;

    use super::*;
    use crate::device::{Capacity, DeviceName};

    fn device() -> Device {
        let attributes = [
            ("gpu.example.com/model", Attribute::Text("a100".into())),
            ("gpu.example.com/index", Attribute::Integer(3)),
            (
                "gpu.example.com/driver",
                Attribute::Version("12.4.1".into()),
            ),
            ("other.example.com/fast", Attribute::Boolean(true)),
        ];
        let memory = Capacity {
            value: "40Gi".parse::<Quantity>().unwrap(),
            default: None,
            values: Vec::new(),
            range: None,
        };
        Device {
            name: DeviceName {
                driver: "gpu.example.com".into(),
                pool: "pool".into(),
                device: "gpu-0".into(),
            },
            attributes: attributes
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
            capacity: [("gpu.example.com/memory".into(), memory)].into(),
            is_shared: false,
            draws: Vec::new(),
        }
    }

    fn check(text: &str, expected: &str) {
        let found = match Selector::compile(text) {
            Err(_) => "does not compile",
            Ok(selector) => match Evaluator::default().verdict(&selector, &device()) {
                Verdict::Holds => "holds",
                Verdict::Fails => "fails",
                Verdict::Error(_) => "error",
            },
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn conditions_see_a_device_as_kubernetes_shows_it() {
        check("device.driver == 'gpu.example.com'", "holds");
        check(
            "device.attributes['gpu.example.com'].model == 'a100'",
            "holds",
        );
        check(
            "device.attributes['gpu.example.com'].model == 'h100'",
            "fails",
        );
        check("device.attributes['gpu.example.com'].index > 2", "holds");
        check("device.attributes['other.example.com'].fast", "holds");
        check(
            "device.attributes['gpu.example.com'].driver.compareTo(semver('12.0.0')) > 0",
            "holds",
        );
        check(
            "device.attributes['gpu.example.com'].driver.isLessThan(semver('12.4.2'))",
            "holds",
        );
        check(
            "device.capacity['gpu.example.com'].memory.compareTo(quantity('40Gi')) >= 0",
            "holds",
        );
        check(
            "device.capacity['gpu.example.com'].memory.isGreaterThan(quantity('80Gi'))",
            "fails",
        );
        check("device.allowMultipleAllocations", "fails");
    }

    #[test]
    fn an_unknown_domain_is_empty_and_an_unknown_name_is_an_error() {
        check("'x' in device.attributes['nobody.example.com']", "fails");
        check("!('x' in device.attributes['nobody.example.com'])", "holds");
        check(
            "device.attributes['gpu.example.com'].nothing == 'x'",
            "error",
        );
        check("device.attributes['nobody.example.com'].x == 'x'", "error");
        check("device.driver", "error");
        check("device.driver ==", "does not compile");
    }
}
