//! Renders templates. Stricter than Helm: what is missing, or prints as Go's notation of a map, is an error.

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

use super::functions;
use super::template::{Node, Operand, Pipeline, Templates};

/// Deepest nesting of templates that include each other.
const DEPTH_MAX: usize = 32;

/// Renders one file or template.
pub(super) struct Evaluation<'a> {
    pub(super) templates: &'a Templates,
    /// What the cluster has, for `lookup`: by kind, namespace and name, joined by slashes.
    pub(super) cluster: &'a Map<String, Value>,
    depth: usize,
    /// The innermost is last; the first is `$`.
    variables: Vec<(String, Value)>,
    out: String,
}

/// Renders nodes with `dot` as what they see.
///
/// # Errors
///
/// A value is missing, a function is not known or refuses, or the chart itself says `fail`.
pub(super) fn render(
    templates: &Templates,
    cluster: &Map<String, Value>,
    nodes: &[Node],
    dot: &Value,
) -> anyhow::Result<String> {
    let mut evaluation = Evaluation {
        templates,
        cluster,
        depth: 0,
        variables: vec![(String::new(), dot.clone())],
        out: String::new(),
    };
    evaluation.nodes(nodes, dot)?;
    Ok(evaluation.out)
}

impl Evaluation<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> anyhow::Result<()> {
        nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    /// Renders what is a scope of its own.
    fn scope(&mut self, nodes: &[Node], dot: &Value) -> anyhow::Result<()> {
        let outer = self.variables.len();
        let done = self.nodes(nodes, dot);
        self.variables.truncate(outer);
        done
    }

    fn node(&mut self, node: &Node, dot: &Value) -> anyhow::Result<()> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print { line, pipeline } => {
                let value = self.at(*line, pipeline, dot)?;
                self.out.push_str(&printed(&value).with_context(|| format!("line {line}"))?);
            }
            Node::Assign { line, variable, declares, pipeline } => {
                let value = self.at(*line, pipeline, dot)?;
                if *declares {
                    self.variables.push((variable.clone(), value));
                } else {
                    let known = self.variables.iter_mut().rev().find(|(name, _)| name == variable);
                    known.with_context(|| format!("line {line}: ${variable} is not declared"))?.1 =
                        value;
                }
            }
            Node::If { line, condition, then, otherwise } => {
                let holds = is_true(&self.at(*line, condition, dot)?);
                self.scope(if holds { then } else { otherwise }, dot)?;
            }
            Node::With { line, pipeline, body, otherwise } => {
                let value = self.at(*line, pipeline, dot)?;
                match is_true(&value) {
                    true => self.scope(body, &value)?,
                    false => self.scope(otherwise, dot)?,
                }
            }
            Node::Range { line, variables, pipeline, body } => {
                let value = self.at(*line, pipeline, dot)?;
                for (key, item) in items(&value).with_context(|| format!("line {line}"))? {
                    let outer = self.variables.len();
                    match variables.as_slice() {
                        [] => {}
                        [value] => self.variables.push((value.clone(), item.clone())),
                        [index, value] => {
                            self.variables.push((index.clone(), key));
                            self.variables.push((value.clone(), item.clone()));
                        }
                        _ => bail!("line {line}: a range has at most two variables"),
                    }
                    self.scope(body, &item)?;
                    self.variables.truncate(outer);
                }
            }
        }
        Ok(())
    }

    fn at(&mut self, line: usize, pipeline: &Pipeline, dot: &Value) -> anyhow::Result<Value> {
        self.pipeline(pipeline, dot).with_context(|| format!("line {line}"))
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> anyhow::Result<Value> {
        let mut last = None;
        for command in pipeline {
            last = Some(self.command(command, last, dot)?);
        }
        last.context("an empty pipeline")
    }

    fn command(
        &mut self,
        command: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> anyhow::Result<Value> {
        let (first, operands) = command.split_first().context("an empty command")?;
        let Operand::Function(name) = first else {
            ensure!(operands.is_empty() && piped.is_none(), "a value is no function");
            return self.operand(first, dot);
        };
        // These look at their later arguments only where the earlier ones leave it open.
        if name == "and" || name == "or" {
            let mut value = piped.unwrap_or(Value::Null);
            for operand in operands {
                value = self.operand(operand, dot)?;
                if is_true(&value) == (name == "or") {
                    break;
                }
            }
            return Ok(value);
        }
        let mut arguments = Vec::new();
        for operand in operands {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        match (name.as_str(), arguments.as_slice()) {
            ("include", [Value::String(name), dot]) => self.include(name, dot),
            ("lookup", [_, kind, namespace, name]) => {
                let key = [kind, namespace, name].map(|part| part.as_str().unwrap_or_default());
                Ok(self.cluster.get(&key.join("/")).cloned().unwrap_or_else(|| Map::new().into()))
            }
            _ => functions::call(name, &arguments).with_context(|| name.clone()),
        }
    }

    fn include(&mut self, name: &str, dot: &Value) -> anyhow::Result<Value> {
        let nodes = self.templates.get(name).with_context(|| format!("no template '{name}'"))?;
        ensure!(self.depth < DEPTH_MAX, "templates include each other without end");
        let mut inner = Evaluation {
            templates: self.templates,
            cluster: self.cluster,
            depth: self.depth + 1,
            variables: vec![(String::new(), dot.clone())],
            out: String::new(),
        };
        inner.nodes(nodes, dot).with_context(|| format!("template '{name}'"))?;
        Ok(inner.out.into())
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> anyhow::Result<Value> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Field(fields) => field(dot, fields),
            Operand::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = found.with_context(|| format!("${name} is not declared"))?;
                field(value, fields)
            }
            Operand::Group(pipeline, fields) => {
                let value = self.pipeline(pipeline, dot)?;
                field(&value, fields)
            }
            Operand::Function(_) => self.command(std::slice::from_ref(operand), None, dot),
        }
    }
}

fn field(value: &Value, fields: &[String]) -> anyhow::Result<Value> {
    let mut value = value;
    for name in fields {
        value = value.get(name).with_context(|| format!("there is no .{}", fields.join(".")))?;
    }
    Ok(value.clone())
}

/// Returns keys and items in the order in which Go has them.
fn items(value: &Value) -> anyhow::Result<Vec<(Value, Value)>> {
    Ok(match value {
        Value::Null => Vec::new(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.into(), item.clone())).collect()
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            fields.into_iter().map(|(name, item)| (name.clone().into(), item.clone())).collect()
        }
        _ => bail!("neither a list nor a map"),
    })
}

/// Returns whether Go takes a value for true.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Returns a value as a template prints it.
pub(super) fn printed(value: &Value) -> anyhow::Result<String> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => {
            let small = number.as_i64().is_some_and(|number| number.abs() < 1_000_000);
            ensure!(small, "{number} would be printed with an exponent");
            number.to_string()
        }
        Value::Null | Value::Array(_) | Value::Object(_) => {
            bail!("null, a list or a map cannot be printed as it is")
        }
    })
}
