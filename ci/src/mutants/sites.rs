//! Where core can be broken mechanically, and in which way. A site is found by the syntax alone; whether the
//! broken code compiles is seen later. What macros hold is not looked into.

use std::collections::BTreeMap;

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// Stands in a switch for the question whether its mutant is the one that is on.
pub(super) const ON: &str = "$ON";

/// One way to break one place.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// `path::function operator #k`: the same after edits elsewhere.
    pub(super) name: String,
    /// A path from the root.
    pub(super) file: String,
    /// What was done, or for those made by hand the class of the bug.
    pub(super) operator: String,
    /// The text that is broken, in short.
    pub(super) text: String,
    pub(super) switch: Switch,
}

impl Site {
    /// What must be the same for it to be the same mutant.
    pub(super) fn key(&self) -> (String, String) {
        (self.name.clone(), self.text.clone())
    }

    /// The number that switches it on, which follows from its name, so that what is built need not change
    /// when other sites come and go.
    pub(super) fn number(&self) -> u64 {
        super::choose::number(&self.name)
    }
}

/// How a site is switched: one text before a span, in bytes, and one after it.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) open: String,
    pub(super) close: String,
}

/// All sites of one file of core, outer ones before those inside.
///
/// # Errors
/// If it is no Rust.
pub(super) fn sites(file: &str, text: &str) -> anyhow::Result<Vec<Site>> {
    let parsed = syn::parse_file(text)?;
    let mut finder = Finder {
        file,
        text,
        path: Vec::new(),
        returns_nothing: false,
        counts: BTreeMap::new(),
        sites: Vec::new(),
    };
    finder.visit_file(&parsed);
    Ok(finder.sites)
}

struct Finder<'a> {
    file: &'a str,
    text: &'a str,
    /// Types and functions around.
    path: Vec<String>,
    /// Whether the function around returns `()`.
    returns_nothing: bool,
    counts: BTreeMap<String, usize>,
    sites: Vec<Site>,
}

impl Finder<'_> {
    fn of(&self, span: Span) -> &str {
        &self.text[span.byte_range()]
    }

    /// Adds a site: `open` and `close` around `span`.
    fn around(&mut self, span: Span, operator: &str, open: impl Into<String>, close: &str) {
        let range = span.byte_range();
        let text = super::choose::short(&self.text[range.clone()]);
        self.add(operator, text, range.start, range.end, open.into(), close.to_owned());
    }

    fn add(
        &mut self,
        operator: &str,
        text: String,
        start: usize,
        end: usize,
        open: String,
        close: String,
    ) {
        let place = format!("{}::{} {operator}", self.file, self.path.join("::"));
        let count = self.counts.entry(place.clone()).or_default();
        *count += 1;
        self.sites.push(Site {
            name: format!("{place} #{count}"),
            file: self.file.to_owned(),
            operator: operator.to_owned(),
            text,
            switch: Switch { start, end, open, close },
        });
    }

    /// The value is turned round: no text is said twice, and nothing lives shorter.
    fn flipped(&mut self, span: Span, operator: &str) {
        self.around(span, operator, "((", &format!(") != {ON})"));
    }

    /// A condition is always true, or never.
    fn forced(&mut self, span: Span, what: &str) {
        self.around(span, &format!("{what} true"), "((", &format!(") || {ON})"));
        self.around(span, &format!("{what} false"), "((", &format!(") && !{ON})"));
    }

    fn left_out(&mut self, span: Span) {
        self.around(span, "left out", format!("if !{ON} {{ "), " }");
    }

    fn swapped(&mut self, whole: &syn::ExprBinary, from: &str, to: &str) {
        let (left, right) = (self.of(whole.left.span()), self.of(whole.right.span()));
        let open = format!("(if {ON} {{ ({left}) {to} ({right}) }} else {{ ");
        self.around(whole.span(), &format!("{from} to {to}"), open, " })");
    }

    /// A function, named and with its body.
    fn function(&mut self, name: &syn::Ident, signature: &syn::Signature, block: &syn::Block) {
        self.path.push(name.to_string());
        let outer = std::mem::replace(
            &mut self.returns_nothing,
            matches!(signature.output, syn::ReturnType::Default),
        );
        let start = block.brace_token.span.open().byte_range().end;
        for value in values(&signature.output) {
            let operator =
                format!("returns {value}").trim_end().replace("returns ()", "does nothing");
            let text = super::choose::short(self.of(signature.span()));
            let open = format!(" if {ON} {{ return {value}; }} ");
            self.add(&operator, text, start, start, open, String::new());
        }
        self.visit_block(block);
        self.returns_nothing = outer;
        self.path.pop();
    }
}

/// What a function of this type returns when it is broken.
fn values(output: &syn::ReturnType) -> Vec<&'static str> {
    let syn::ReturnType::Type(_, kind) = output else { return vec!["()"] };
    match &**kind {
        syn::Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return Vec::new() };
            match last.ident.to_string().as_str() {
                "bool" => vec!["true", "false"],
                "Option" => vec!["None"],
                "Result" => vec!["Ok(Default::default())"],
                "Self" => Vec::new(),
                _ => vec!["Default::default()"],
            }
        }
        syn::Type::Reference(reference) => match &*reference.elem {
            syn::Type::Path(path) if path.path.is_ident("str") => vec!["\"\""],
            syn::Type::Slice(_) => vec!["&[]"],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Iterators' and options' methods that ask a closure for a bool.
const ASKING: &[&str] = &[
    "all",
    "any",
    "filter",
    "find",
    "is_none_or",
    "is_some_and",
    "partition",
    "position",
    "retain",
    "rfind",
    "rposition",
    "skip_while",
    "take_while",
];

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
    })
}

fn has_let(condition: &syn::Expr) -> bool {
    match condition {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// Whether a statement's expression does something that can be left undone.
fn is_deed(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Call(_) | syn::Expr::MethodCall(_) | syn::Expr::Assign(_) => true,
        syn::Expr::Try(tried) => is_deed(&tried.expr),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        self.path.extend(name.clone());
        visit::visit_item_impl(self, item);
        if name.is_some() {
            self.path.pop();
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) && item.sig.constness.is_none() {
            self.function(&item.sig.ident, &item.sig, &item.block);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.sig.constness.is_none() {
            self.function(&item.sig.ident, &item.sig, &item.block);
        }
    }

    // What the compiler works out is no place for a switch.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        match statement {
            syn::Stmt::Expr(expression, _) if is_deed(expression) => {
                self.left_out(statement.span());
            }
            syn::Stmt::Expr(syn::Expr::Return(returned), _)
                if self.returns_nothing && returned.expr.as_deref().is_some_and(is_deed) =>
            {
                let open = format!("if {ON} {{ return; }} ");
                self.around(statement.span(), "left out", open, "");
            }
            _ => {}
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        use syn::BinOp;
        let lets = has_let(&binary.left) || has_let(&binary.right);
        match binary.op {
            BinOp::Eq(_) => self.flipped(binary.span(), "== to !="),
            BinOp::Ne(_) => self.flipped(binary.span(), "!= to =="),
            BinOp::Lt(_) => self.swapped(binary, "<", "<="),
            BinOp::Le(_) => self.swapped(binary, "<=", "<"),
            BinOp::Gt(_) => self.swapped(binary, ">", ">="),
            BinOp::Ge(_) => self.swapped(binary, ">=", ">"),
            BinOp::And(_) if !lets => self.swapped(binary, "&&", "||"),
            BinOp::Or(_) if !lets => self.swapped(binary, "||", "&&"),
            BinOp::Add(_) => self.swapped(binary, "+", "-"),
            BinOp::Sub(_) => self.swapped(binary, "-", "+"),
            _ => {}
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if matches!(unary.op, syn::UnOp::Not(_)) {
            self.flipped(unary.span(), "! dropped");
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_if(&mut self, item: &'ast syn::ExprIf) {
        match has_let(&item.cond) {
            true => self.around(item.cond.span(), "if false", format!("!{ON} && "), ""),
            false => self.forced(item.cond.span(), "if"),
        }
        visit::visit_expr_if(self, item);
    }

    fn visit_expr_match(&mut self, item: &'ast syn::ExprMatch) {
        let catches = |arm: &syn::Arm| match &arm.pat {
            _ if arm.guard.is_some() => false,
            syn::Pat::Wild(_) => true,
            // `None` looks like a name too.
            syn::Pat::Ident(name) => {
                name.subpat.is_none() && name.ident.to_string().starts_with(char::is_lowercase)
            }
            _ => false,
        };
        let caught = item.arms.last().is_some_and(catches);
        for arm in &item.arms {
            match &arm.guard {
                Some((_, guard)) if !has_let(guard) => self.forced(guard.span(), "guard"),
                None if caught && !catches(arm) => {
                    let end = arm.pat.span().byte_range().end;
                    let text = super::choose::short(self.of(arm.pat.span()));
                    self.add("arm left out", text, end, end, format!(" if !{ON}"), String::new());
                }
                _ => {}
            }
        }
        visit::visit_expr_match(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let method = call.method.to_string();
        if ASKING.contains(&method.as_str())
            && let Some(syn::Expr::Closure(closure)) = call.args.last()
        {
            self.forced(closure.body.span(), &method);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_struct(&mut self, item: &'ast syn::ExprStruct) {
        if item.rest.is_some() {
            for field in item.fields.iter().filter(|field| field.colon_token.is_some()) {
                let open = format!("(if {ON} {{ Default::default() }} else {{ ");
                self.around(field.expr.span(), "field left out", open, " })");
            }
        }
        visit::visit_expr_struct(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::sites;

    #[test]
    fn each_operator_finds_its_place_and_tests_are_left_alone() {
        let text = "\
fn a(x: &[u8]) -> bool { if x.len() < 3 && !x.is_empty() { b(1); } x.iter().any(|y| *y == 1) }
fn b(n: u8) { match n { 1 => c(), m if m > 3 => c(), _ => {} } if let Some(_) = d() {} return c(); }
const fn c() {}
impl X { fn d(&self) -> Option<u8> { None } }
#[cfg(test)] mod tests { fn e() -> bool { true } }
";
        let found: Vec<String> = sites("f.rs", text)
            .expect("Rust")
            .into_iter()
            .map(|site| site.name.replace("f.rs::", ""))
            .collect();
        let expected = [
            "a returns true #1",
            "a returns false #1",
            "a if true #1",
            "a if false #1",
            "a && to || #1",
            "a < to <= #1",
            "a ! dropped #1",
            "a left out #1",
            "a left out #2",
            "a any true #1",
            "a any false #1",
            "a == to != #1",
            "b does nothing #1",
            "b arm left out #1",
            "b guard true #1",
            "b guard false #1",
            "b > to >= #1",
            "b if false #1",
            "b left out #1",
            "X::d returns None #1",
        ];
        assert_eq!(found, expected);
    }
}
