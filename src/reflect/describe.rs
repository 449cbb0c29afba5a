//! A symbol as its `.proto` source would have it, comments included where the descriptors carry
//! them. Type names are written in full, so that each can be described in turn.

use std::fmt::Write as _;

use crate::rule::Body;
use crate::schema::table::{Field, Shape, Type};
use crate::schema::{Enum, Message, Method, Schema, Service, Symbol};
use crate::template::type_name;

/// The text of a symbol, ending in a line break.
pub fn describe(symbol: &Symbol) -> String {
    let mut out = Out {
        text: String::new(),
        level: 0,
    };
    match symbol {
        Symbol::Service(service) => out.service(service),
        Symbol::Method(method) => out.method(method),
        Symbol::Message(message) => out.message(message, message.full_name()),
        Symbol::Enum(declared) => out.enumeration(declared, declared.full_name()),
    }
    out.text
}

struct Out {
    text: String,
    level: usize,
}

impl Out {
    fn line(&mut self, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:width$}{text}", "", width = 2 * self.level);
    }

    fn open(&mut self, text: &str) {
        self.line(&format!("{text} {{"));
        self.level += 1;
    }

    fn close(&mut self) {
        self.level -= 1;
        self.line("}");
    }

    fn comment(&mut self, schema: &Schema, name: &str) {
        if let Some(text) = schema.comment(name) {
            for line in text.lines() {
                self.line(format!("// {line}").trim_end());
            }
        }
    }

    fn service(&mut self, service: &Service) {
        self.comment(service.schema(), service.full_name());
        self.open(&format!("service {}", service.full_name()));
        for method in service.methods() {
            self.method(&method);
        }
        self.close();
    }

    fn method(&mut self, method: &Method) {
        self.comment(method.schema(), &method.full_name());
        let side = |streaming: bool, message: &Message| {
            format!(
                "{}{}",
                if streaming { "stream " } else { "" },
                message.full_name()
            )
        };
        let head = format!(
            "rpc {}({}) returns ({})",
            method.name(),
            side(method.client_streaming(), &method.input()),
            side(method.server_streaming(), &method.output()),
        );
        let rules = method.http_rules();
        if rules.is_empty() {
            return self.line(&format!("{head};"));
        }
        self.open(&head);
        for rule in rules {
            let body = match &rule.body {
                Body::None => String::new(),
                Body::Whole => "  body: *".to_owned(),
                Body::Field(field) => format!("  body: {field}"),
            };
            let response = rule
                .response_body
                .map(|field| format!("  response: {field}"))
                .unwrap_or_default();
            self.line(&format!(
                "// {} {}{body}{response}",
                rule.verb, rule.template
            ));
        }
        self.close();
    }

    fn message(&mut self, message: &Message, name: &str) {
        self.comment(message.schema(), message.full_name());
        self.open(&format!("message {name}"));
        let table = message.table();
        let mut oneofs: Vec<u16> = Vec::new();
        for field in table.fields.iter().filter(|f| !f.extension) {
            let Some(oneof) = field.oneof else {
                self.field(message, field);
                continue;
            };
            if oneofs.contains(&oneof) {
                continue;
            }
            oneofs.push(oneof);
            let name = &table.oneofs[usize::from(oneof)];
            self.comment(message.schema(), &format!("{}.{name}", message.full_name()));
            self.open(&format!("oneof {name}"));
            for member in table.fields.iter().filter(|f| f.oneof == Some(oneof)) {
                self.field(message, member);
            }
            self.close();
        }
        for extension in table.fields.iter().filter(|f| f.extension) {
            let name = extension.name.trim_matches(['[', ']']);
            let ty = type_name(message, extension);
            self.line(&format!("// extension {ty} {name} = {};", extension.number));
        }
        self.nested(message);
        self.close();
    }

    /// The types declared inside a message, map entries excepted.
    fn nested(&mut self, message: &Message) {
        let schema = message.schema();
        let prefix = format!("{}.", message.full_name());
        let inside = |name: &str| {
            name.strip_prefix(&prefix)
                .filter(|rest| !rest.contains('.'))
                .map(str::to_owned)
        };
        for declared in schema.enumerations() {
            if let Some(name) = inside(declared.full_name()) {
                self.enumeration(&declared, &name);
            }
        }
        for nested in schema.messages() {
            let Some(name) = inside(nested.full_name()) else {
                continue;
            };
            let descriptor = schema.pool().message_by_name(nested.full_name());
            let entry = descriptor
                .and_then(|m| m.options())
                .and_then(|o| o.map_entry);
            if entry != Some(true) {
                self.message(&nested, &name);
            }
        }
    }

    fn field(&mut self, message: &Message, field: &Field) {
        let path = format!("{}.{}", message.full_name(), field.name);
        self.comment(message.schema(), &path);
        let descriptor = message.schema().pool().message_by_name(message.full_name());
        let options = descriptor
            .and_then(|m| m.field(field.number))
            .and_then(|f| f.options());
        let deprecated = options.and_then(|o| o.deprecated) == Some(true);
        let explicit = field.shape == Shape::Single
            && field.oneof.is_none()
            && !field.implicit
            && !matches!(field.ty, Type::Message(_));
        let label = if explicit { "optional " } else { "" };
        let notes = if deprecated {
            " [deprecated = true]"
        } else {
            ""
        };
        self.line(&format!(
            "{label}{} {} = {}{notes};",
            type_name(message, field),
            field.name,
            field.number
        ));
    }

    fn enumeration(&mut self, declared: &Enum, name: &str) {
        self.comment(declared.schema(), declared.full_name());
        self.open(&format!("enum {name}"));
        for (value, number) in declared.values() {
            self.comment(
                declared.schema(),
                &format!("{}.{value}", declared.full_name()),
            );
            self.line(&format!("{value} = {number};"));
        }
        self.close();
    }
}
