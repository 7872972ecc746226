// SPDX-License-Identifier: GPL-2.0

use std::{
    collections::HashMap,
    ffi::CString, //
};

use proc_macro2::{
    Literal,
    Span,
    TokenStream,
    TokenTree, //
};
use quote::{
    format_ident,
    quote,
    quote_spanned,
    ToTokens, //
};
use syn::{
    braced,
    bracketed,
    ext::IdentExt,
    parse::{
        Parse,
        ParseStream, //
    },
    punctuated::Punctuated,
    spanned::Spanned,
    Attribute,
    Error,
    FnArg,
    Ident,
    LitBool,
    LitInt,
    LitStr,
    Meta,
    Path,
    Result,
    ReturnType,
    Signature,
    Token,
    Type,
    Visibility, //
};

use crate::{
    helpers::*,
    module::{
        self,
        parse_ordered_fields, //
    },
};

/// How the author says which function is replaced.
enum Original {
    /// `unsafe extern "C" fn name(…) -> …`.
    Declared(Box<Signature>),
    /// `bindings::name`, whose type is known there.
    Known(Ident),
}

/// A name of the kernel's. It need not be one of Rust, as `8021q` and `work.isra.0` are not.
struct Name {
    text: String,
    span: Span,
}

impl From<&Ident> for Name {
    fn from(ident: &Ident) -> Self {
        Self {
            text: ident.unraw().to_string(),
            span: ident.span(),
        }
    }
}

impl From<&LitStr> for Name {
    fn from(literal: &LitStr) -> Self {
        Self {
            text: literal.value(),
            span: literal.span(),
        }
    }
}

impl Name {
    /// A nul-terminated string.
    fn c_string(&self) -> Result<Literal> {
        let text = CString::new(self.text.as_str())
            .map_err(|_| Error::new(self.span, "a name must not have a nul in it"))?;
        let mut literal = Literal::c_string(&text);
        literal.set_span(self.span);
        Ok(literal)
    }

    /// The name as a part of an identifier.
    fn ident_part(&self) -> String {
        self.text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect()
    }
}

/// A replaced function: `#[sympos(2)] <original> => <replacement>`.
struct Function {
    original: Original,
    /// Where something is said of the original that nobody checks, if so.
    promise: Option<Span>,
    name: Name,
    sympos: u64,
    replacement: Path,
}

/// What the attributes of a function say of its symbol.
#[derive(Default)]
struct SymbolAttributes {
    /// Which of the symbols of that name, from 1; 0 if there is just one.
    sympos: Option<u64>,
    /// The name, where it is not that of the function's declaration.
    symbol: Option<LitStr>,
    /// Doc comments.
    docs: Vec<Attribute>,
}

impl Parse for SymbolAttributes {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut this = Self::default();
        for attr in input.call(Attribute::parse_outer)? {
            let twice = match &attr.meta {
                Meta::List(list) if list.path.is_ident("sympos") => {
                    let number: LitInt = list.parse_args()?;
                    let sympos = number.base10_parse()?;
                    if sympos == 0 {
                        return Err(Error::new_spanned(
                            number,
                            "`sympos` counts from 1; leave it out where the name is unique",
                        ));
                    }
                    this.sympos.replace(sympos).is_some()
                }
                Meta::List(list) if list.path.is_ident("symbol") => {
                    this.symbol.replace(list.parse_args()?).is_some()
                }
                Meta::NameValue(value) if value.path.is_ident("doc") => {
                    this.docs.push(attr.clone());
                    false
                }
                _ => {
                    return Err(Error::new_spanned(
                        attr,
                        "unknown attribute: a function may have `#[sympos(<number>)]`, \
                        `#[symbol(\"<name>\")]` and doc comments",
                    ))
                }
            };
            if twice {
                return Err(Error::new_spanned(attr, "this is given twice"));
            }
        }
        Ok(this)
    }
}

impl SymbolAttributes {
    /// The name of the symbol of a function that is declared as `ident`.
    fn name(&self, ident: &Ident) -> Name {
        self.symbol.as_ref().map_or(ident.into(), Name::from)
    }
}

/// Refuses what no function of the kernel is.
fn check_signature(sig: &Signature) -> Result<()> {
    let has_c_abi = sig
        .abi
        .as_ref()
        .is_some_and(|abi| abi.name.as_ref().is_none_or(|name| name.value() == "C"));
    if !has_c_abi {
        return Err(Error::new_spanned(
            sig,
            "functions of the kernel have the ABI of C: write `extern \"C\" fn`",
        ));
    }
    if let Some(variadic) = &sig.variadic {
        return Err(Error::new_spanned(
            variadic,
            "a function with variable arguments cannot be replaced by one in Rust",
        ));
    }
    if !sig.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &sig.generics,
            "a function of the kernel has no generic parameters",
        ));
    }
    if let Some(receiver) = sig.receiver() {
        return Err(Error::new_spanned(
            receiver,
            "a function of the kernel has no `self`",
        ));
    }
    Ok(())
}

/// The last part of `bindings::name`, the only path to what a header of the kernel says.
fn known_name(path: &Path) -> Result<&Ident> {
    let segments: Vec<_> = path.segments.iter().map(|part| &part.ident).collect();
    match segments.as_slice() {
        [bindings, name] if *bindings == "bindings" => Ok(name),
        [kernel, bindings, name] if *kernel == "kernel" && *bindings == "bindings" => Ok(name),
        _ => Err(Error::new_spanned(
            path,
            "a function is given as its declaration, or as `bindings::<name>` if a header has it",
        )),
    }
}

/// The types of the arguments.
fn argument_types(sig: &Signature) -> impl Iterator<Item = &Type> {
    sig.inputs.iter().filter_map(|arg| match arg {
        FnArg::Typed(arg) => Some(&*arg.ty),
        FnArg::Receiver(_) => None,
    })
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes: SymbolAttributes = input.parse()?;

        let is_signature =
            input.peek(Token![unsafe]) || input.peek(Token![extern]) || input.peek(Token![fn]);
        let (original, promise, name) = if is_signature {
            let sig: Signature = input.parse()?;
            check_signature(&sig)?;
            let name = attributes.name(&sig.ident);
            let promise = Some(sig.ident.span());
            (Original::Declared(Box::new(sig)), promise, name)
        } else {
            let path = input.call(Path::parse_mod_style)?;
            let known = known_name(&path)?;
            let name = attributes.name(known);
            // The header has another function than the one that is replaced.
            let other = attributes.symbol.is_some() || attributes.sympos.is_some();
            let promise = other.then_some(name.span);
            (Original::Known(known.clone()), promise, name)
        };

        input.parse::<Token![=>]>()?;
        Ok(Self {
            original,
            promise,
            name,
            sympos: attributes.sympos.unwrap_or(0),
            replacement: input.parse()?,
        })
    }
}

/// The name of the static that tells `make check-patch` the type of an entry; `kind` is `func` or
/// `sym`.
fn type_symbol(kind: &str, object: &Name, name: &Name, sympos: u64) -> String {
    format!(".klp.type.{kind}.{}.{},{sympos}", object.text, name.text)
}

impl Function {
    /// Expands to a `klp_func` of `object`, and to a check that the types agree. `number` is the
    /// function's in the patch.
    fn expand(&self, object: &Name, number: usize) -> Result<TokenStream> {
        let symbol = self.name.c_string()?;
        let sympos = self.sympos;
        let replacement = &self.replacement;

        // Where they do not, that is reported at the replacement.
        let called = match &self.original {
            Original::Declared(sig) => {
                let Signature {
                    unsafety, output, ..
                } = &**sig;
                let types: Vec<_> = argument_types(sig).collect();
                // The static is for `make check-patch`: debug information has no ABI for functions,
                // and one type for those that are the same code. It goes when the module is
                // initialised.
                let typed = format_ident!("TYPE_{}", self.name.ident_part());
                let type_symbol = type_symbol("func", object, &self.name, sympos);
                quote_spanned! {replacement.span()=> {
                    const REPLACEMENT: #unsafety extern "C" fn(#(#types),*) #output = #replacement;
                    const CALLED: #unsafety extern "C" fn(#(#types),*) #output =
                        ::kernel::livepatch::declare::wrapper::<Replacement, _>(REPLACEMENT);
                    #[allow(non_upper_case_globals)]
                    #[export_name = #type_symbol]
                    #[link_section = ".init.rodata"]
                    #[used(compiler)]
                    static #typed: #unsafety extern "C" fn(#(#types),*) #output = CALLED;
                    CALLED
                }}
            }
            // The elements of an array have one type: that of pointers to either, if they agree.
            Original::Known(known) => quote_spanned! {replacement.span()=> {
                let [_, replacement] = [::kernel::bindings::#known, #replacement];
                ::kernel::livepatch::declare::wrapper::<Replacement, _>(replacement)
            }},
        };
        Ok(quote_spanned! {replacement.span()=> {
            struct Replacement;

            // SAFETY: It returns the function whose type is given below.
            unsafe impl ::kernel::livepatch::declare::Replacement for Replacement {
                const NUMBER: usize = #number;

                fn target() -> *const () {
                    #replacement as *const ()
                }
            }

            ::kernel::livepatch::declare::func(
                #symbol,
                #called as *mut ::kernel::ffi::c_void,
                #sympos as usize,
            )
        }})
    }
}

/// A function that is not exported: `#[sympos(2)] unsafe extern "C" fn name(…) -> …`.
struct Symbol {
    docs: Vec<Attribute>,
    name: Name,
    sympos: u64,
    visibility: Visibility,
    signature: Signature,
}

impl Parse for Symbol {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes: SymbolAttributes = input.parse()?;
        let visibility = input.parse()?;
        let signature: Signature = input.parse()?;
        check_signature(&signature)?;
        if signature.unsafety.is_none() {
            return Err(Error::new_spanned(
                &signature,
                "what the kernel does not export is called at the caller's risk: write `unsafe`",
            ));
        }
        Ok(Self {
            name: attributes.name(&signature.ident),
            sympos: attributes.sympos.unwrap_or(0),
            docs: attributes.docs,
            visibility,
            signature,
        })
    }
}

/// Describes a livepatch relocation for `objtool klp post-link`: at `place`, by `symbol`, of the
/// type `reloc`.
fn describe_relocation(object: &str, place: &str, symbol: &str) -> String {
    format!(
        ".pushsection __klp_relocs.{object}, \"\"\n\
        .balign 8\n\
        .quad {place}\n\
        .quad {symbol}\n\
        .long {{reloc}}, 0\n\
        .popsection\n"
    )
}

impl Symbol {
    /// Expands to a function that calls the symbol of `object`, and to the name of the place that
    /// has its address.
    ///
    /// The address comes by a livepatch relocation. Linkers do not know these; therefore it is
    /// described in a section from which `objtool klp post-link` makes it in the end. The symbol is
    /// weak so that the module can be linked until then.
    fn expand(&self, object: &Name) -> (TokenStream, Ident) {
        let name = &self.signature.ident;
        let slot = format_ident!(
            "__livepatch_{}_{}_{}",
            object.ident_part(),
            self.name.ident_part(),
            self.sympos
        );
        let type_symbol = type_symbol("sym", object, &self.name, self.sympos);
        let is_vmlinux = object.text == "vmlinux";
        let object = &object.text;
        let symbol = format!(".klp.sym.{object}.{},{}", self.name.text, self.sympos);
        let asm = format!(
            "\n.weak \"{symbol}\"\n\
            .pushsection .data..livepatch, \"aw\"\n\
            .balign 8\n\
            {slot}: .quad \"{symbol}\"\n\
            .popsection\n\
            {}",
            describe_relocation(object, &slot.to_string(), &format!("\"{symbol}\""))
        );
        // A jump of 5 bytes, whose last four are the distance to the symbol from behind them.
        let jump = format_ident!("{slot}_jump");
        let jump_asm = format!(
            "\n.pushsection .text, \"ax\", @progbits\n\
            .type {jump}, @function\n\
            {jump}:\n\
            .L{jump}: jmp \"{symbol}\"\n\
            .size {jump}, . - {jump}\n\
            .popsection\n\
            {}",
            describe_relocation(
                object,
                &format!(".L{jump} + 1"),
                &format!("\"{symbol}\" - 4")
            )
        );
        let jump_name = jump.to_string();

        let docs = &self.docs;
        let visibility = &self.visibility;
        let output = &self.signature.output;
        let types: Vec<_> = argument_types(&self.signature).collect();
        let args: Vec<_> = (0..types.len()).map(|i| format_ident!("arg{i}")).collect();
        let called = &self.name.text;
        let module = (!is_vmlinux).then(|| {
            format!(
                " Returns `None` without calling it if {object} is not loaded.\n\n# Safety\n\n\
                As for that function. {object} must not be unloaded meanwhile, as it is not where \
                one of its functions runs, or what replaces one."
            )
        });
        let module = module.unwrap_or("\n\n# Safety\n\nAs for that function.".into());
        // A paragraph of its own, behind what the author says.
        let doc = format!("\n\nCalls `{called}()` of {object}.{module}");
        let result = match &self.signature.output {
            ReturnType::Default => quote!(()),
            ReturnType::Type(_, type_) => type_.to_token_stream(),
        };
        let (result, absent, present) = if is_vmlinux {
            (result, None, quote!(result))
        } else {
            let absent = quote! {
                // SAFETY: The static is there, defined above.
                if unsafe { #slot.get() } == 0 {
                    return ::core::option::Option::None;
                }
            };
            let result = quote!(::core::option::Option<#result>);
            (
                result,
                Some(absent),
                quote!(::core::option::Option::Some(result)),
            )
        };
        let function = quote! {
            ::core::arch::global_asm!(
                #asm,
                reloc = const ::kernel::livepatch::declare::RELOC_TYPE,
            );

            extern "C" {
                static #slot: ::kernel::livepatch::declare::Address;
            }

            // Where each address that is called has to be marked as such (IBT, kCFI), a function is
            // not that nobody calls by its address. So it is jumped to, from a place that is called
            // by name.
            #[cfg(target_arch = "x86_64")]
            ::core::arch::global_asm!(
                #jump_asm,
                reloc = const ::kernel::livepatch::declare::JUMP_RELOC_TYPE,
            );

            const _: () = {
                /// Tells `make check-patch` the type of the function.
                #[export_name = #type_symbol]
                #[link_section = ".init.rodata"]
                #[used(compiler)]
                static mut TYPE: *const unsafe extern "C" fn(#(#types),*) #output =
                    ::core::ptr::null();
            };

            #(#docs)*
            #[doc = #doc]
            #visibility unsafe fn #name(#(#args: #types),*) -> #result {
                #absent
                // Types of bindgen are C's, whatever the lint thinks of them.
                #[cfg(target_arch = "x86_64")]
                #[allow(improper_ctypes)]
                extern "C" {
                    #[link_name = #jump_name]
                    fn function(#(#args: #types),*) #output;
                }
                // SAFETY: The relocation has written the address of the function, which has this
                // type, as its author promises.
                #[cfg(not(target_arch = "x86_64"))]
                let function: unsafe extern "C" fn(#(#types),*) #output =
                    unsafe { ::core::mem::transmute(#slot.get()) };
                // SAFETY: By the requirement of this function. The author promises that the
                // function has this type.
                let result = unsafe { function(#(#args),*) };
                #present
            }
        };
        (function, slot)
    }
}

/// The entries of `unsafe [ … ]` or `[ … ]`, and whether it was the former.
struct List<T> {
    unsafety: Option<Token![unsafe]>,
    entries: Vec<T>,
}

impl<T: Parse> Parse for List<T> {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let unsafety = input.parse()?;
        let list;
        bracketed!(list in input);
        let entries = Punctuated::<T, Token![,]>::parse_terminated(&list)?;
        Ok(Self {
            unsafety,
            entries: entries.into_iter().collect(),
        })
    }
}

/// Refuses a list called `key` in which something is said of a function of the kernel that nobody
/// checks, at `promise`, and that is not `unsafe`.
fn check_promise(unsafety: Option<Token![unsafe]>, key: &str, promise: Option<Span>) -> Result<()> {
    match (unsafety, promise) {
        (None, Some(promise)) => Err(Error::new(
            promise,
            format!(
                "no compiler can check what a function of the kernel looks like: write `{key}: \
                unsafe [`, and in a `// SAFETY:` comment why it is as declared"
            ),
        )),
        (Some(unsafety), None) => Err(Error::new_spanned(
            unsafety,
            format!("nothing is declared here: write `{key}: [`"),
        )),
        _ => Ok(()),
    }
}

/// vmlinux or a module: `name: { functions: […], symbols: […], callbacks: <type> }`.
struct Object {
    name: Name,
    functions: Vec<Function>,
    symbols: Vec<Symbol>,
    callbacks: Option<Type>,
}

impl Parse for Object {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = if input.peek(LitStr) {
            Name::from(&input.parse::<LitStr>()?)
        } else {
            Name::from(&input.call(Ident::parse_any)?)
        };
        input.parse::<Token![:]>()?;
        let fields;
        braced!(fields in input);
        parse_ordered_fields!(
            from fields;
            functions => fields.parse::<List<Function>>()?,
            symbols => fields.parse::<List<Symbol>>()?,
            callbacks => fields.parse()?,
        );
        if let Some(List { unsafety, entries }) = &functions {
            let promise = entries.iter().find_map(|function| function.promise);
            check_promise(*unsafety, "functions", promise)?;
        }
        if let Some(List { unsafety, entries }) = &symbols {
            let promise = entries.first().map(|symbol| symbol.signature.ident.span());
            check_promise(*unsafety, "symbols", promise)?;
        }
        Ok(Self {
            name,
            functions: functions.map_or(Vec::new(), |list| list.entries),
            symbols: symbols.map_or(Vec::new(), |list| list.entries),
            callbacks,
        })
    }
}

impl Object {
    fn is_vmlinux(&self) -> bool {
        self.name.text == "vmlinux"
    }

    /// Refuses a function that is named twice.
    fn check(&self) -> Result<()> {
        let mut seen = HashMap::new();
        for function in &self.functions {
            // A name that is unique is the first of its kind.
            let key = (&function.name.text, function.sympos.max(1));
            if let Some(first) = seen.insert(key, function.name.span) {
                return Err(twice(
                    function.name.span,
                    first,
                    format!(
                        "`{}` of `{}` is replaced twice",
                        function.name.text, self.name.text
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Where its callbacks are named, or itself.
    fn span(&self) -> Span {
        self.callbacks
            .as_ref()
            .map_or(self.name.span, Spanned::span)
    }

    /// vmlinux, where an author has not named it.
    fn implied() -> Self {
        Self {
            name: Name {
                text: "vmlinux".into(),
                span: Span::call_site(),
            },
            functions: Vec::new(),
            symbols: Vec::new(),
            callbacks: None,
        }
    }

    /// Expands to the type with what the object does when it is patched and unpatched.
    fn hooks(&self, state: &TokenStream, has_state: bool, states: &[Type]) -> TokenStream {
        // What a type lacks is reported where it is named.
        let span = self.span();
        let mut hooks = match &self.callbacks {
            Some(callbacks) => quote_spanned! {callbacks.span()=>
                ::kernel::livepatch::declare::WithCallbacks<#callbacks>
            },
            None => quote!(::kernel::livepatch::declare::NoHooks),
        };
        if !self.is_vmlinux() {
            return hooks;
        }
        if !states.is_empty() {
            let states = states
                .iter()
                .rev()
                .fold(quote!(()), |rest, state| quote!((#state, #rest)));
            hooks = quote_spanned! {span=>
                ::kernel::livepatch::declare::WithStates<#state, #states, #hooks>
            };
        }
        if has_state {
            hooks = quote_spanned!(span=> ::kernel::livepatch::declare::WithPatch<#state, #hooks>);
        }
        hooks
    }
}

/// Shadow variables: `pub(crate) NAME: <type> = <id>`.
struct Variables {
    docs: Vec<Attribute>,
    visibility: Visibility,
    name: Ident,
    type_: Type,
    id: LitInt,
}

impl Parse for Variables {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let docs = input.call(Attribute::parse_outer)?;
        if let Some(other) = docs.iter().find(|attr| !attr.path().is_ident("doc")) {
            return Err(Error::new_spanned(
                other,
                "unknown attribute: shadow variables may have doc comments",
            ));
        }
        let visibility = input.parse()?;
        let name = input.parse()?;
        input.parse::<Token![:]>()?;
        let type_ = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self {
            docs,
            visibility,
            name,
            type_,
            id: input.parse()?,
        })
    }
}

pub(crate) struct Livepatch {
    type_: Option<Type>,
    name: AsciiLitStr,
    authors: Option<TokenTree>,
    description: Option<TokenTree>,
    license: TokenTree,
    params: Option<TokenTree>,
    replace: Option<LitBool>,
    states: Vec<Type>,
    shadow: Vec<Variables>,
    objects: Vec<Object>,
}

impl Parse for Livepatch {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        parse_ordered_fields!(
            from input;
            type as type_ => input.parse()?,
            name [required] => input.parse()?,
            authors => input.parse()?,
            description => input.parse()?,
            license [required] => input.parse()?,
            params => input.parse()?,
            replace => input.parse()?,
            states => {
                let list;
                bracketed!(list in input);
                Punctuated::<Type, Token![,]>::parse_terminated(&list)?
            },
            shadow => {
                let list;
                bracketed!(list in input);
                Punctuated::<Variables, Token![,]>::parse_terminated(&list)?
            },
            objects [required] => {
                let list;
                braced!(list in input);
                Punctuated::<Object, Token![,]>::parse_terminated(&list)?
            },
        );
        let mut this = Self {
            type_,
            name,
            authors,
            description,
            license,
            params,
            replace,
            states: states.into_iter().flatten().collect(),
            shadow: shadow.into_iter().flatten().collect(),
            objects: objects.into_iter().collect(),
        };
        this.check()?;
        // What the patch's own state is told comes with vmlinux.
        if this.type_.is_some() && !this.objects.iter().any(Object::is_vmlinux) {
            this.objects.push(Object::implied());
        }
        Ok(this)
    }
}

impl Livepatch {
    /// Refuses what the core would refuse later, and what makes no sense.
    fn check(&self) -> Result<()> {
        if self.objects.is_empty() {
            return Err(Error::new_spanned(
                &self.name,
                "the patch is for nothing: name `vmlinux` or a module in `objects`",
            ));
        }
        let mut names = HashMap::new();
        for object in &self.objects {
            object.check()?;
            if let Some(first) = names.insert(&object.name.text, object.name.span) {
                return Err(twice(
                    object.name.span,
                    first,
                    format!("the object `{}` is there twice", object.name.text),
                ));
            }
            if let (Some(callbacks), None) = (&object.callbacks, &self.type_) {
                return Err(Error::new_spanned(
                    callbacks,
                    "callbacks are given the patch's own state: say `type: <its type>` first",
                ));
            }
        }
        if let Some(state) = self.states.first() {
            if !self.objects.iter().any(Object::is_vmlinux) {
                return Err(Error::new_spanned(
                    state,
                    "states come and go with vmlinux: add `vmlinux: {}` to `objects`",
                ));
            }
        }
        let mut ids = HashMap::new();
        for variables in &self.shadow {
            let id = &variables.id;
            if let Some(first) = ids.insert(id.base10_parse::<u64>()?, id.span()) {
                return Err(twice(
                    id.span(),
                    first,
                    format!("the id {id} stands for two types of shadow variables"),
                ));
            }
        }
        Ok(())
    }

    /// Expands to the declaration of the module.
    fn expand_module(&self) -> Result<TokenStream> {
        let name = &self.name;
        let license = &self.license;
        let field = |key: &str, value: &Option<TokenTree>| {
            let key = Ident::new(key, Span::call_site());
            value.as_ref().map(|value| quote!(#key: #value,))
        };
        let authors = field("authors", &self.authors);
        let description = field("description", &self.description);
        let params = field("params", &self.params);
        module::module(syn::parse2(quote! {
            type: __Livepatch,
            name: #name,
            #authors
            #description
            license: #license,
            #params
        })?)
    }
}

/// Something is there a second time.
fn twice(here: Span, first: Span, message: String) -> Error {
    let mut error = Error::new(here, message);
    error.combine(Error::new(first, "it is here for the first time"));
    error
}

pub(crate) fn livepatch(info: Livepatch) -> Result<TokenStream> {
    let module = info.expand_module()?;
    let replace = info.replace.as_ref().is_some_and(LitBool::value);

    let (state, stateless) = match &info.type_ {
        Some(type_) => (type_.to_token_stream(), None),
        None => (
            quote!(__LivepatchState),
            Some(quote! {
                /// The patch has no state of its own.
                #[doc(hidden)]
                struct __LivepatchState;

                impl ::kernel::livepatch::Patch for __LivepatchState {
                    fn init(
                        _module: &'static ::kernel::ThisModule,
                    ) -> impl ::pin_init::PinInit<Self, ::kernel::error::Error> {
                        ::core::result::Result::Ok(Self)
                    }
                }
            }),
        ),
    };

    // The functions of each object go on up to one that is all zero, and so do the objects.
    let mut funcs = TokenStream::new();
    let mut objects = TokenStream::new();
    let mut numbers = 0..;
    for (index, object) in info.objects.iter().enumerate() {
        let list = format_ident!("FUNCS_{index}");
        let len = object.functions.len() + 1;
        let functions = object
            .functions
            .iter()
            .zip(numbers.by_ref())
            .map(|(function, number)| function.expand(&object.name, number))
            .collect::<Result<Vec<_>>>()?;
        funcs.extend(quote! {
            static #list: Part<[::kernel::bindings::klp_func; #len]> = Part::new([
                #(#functions,)*
                ::pin_init::zeroed(),
            ]);
        });

        let hooks = object.hooks(&state, info.type_.is_some(), &info.states);
        let span = object.span();
        let name = if object.is_vmlinux() {
            quote!(::core::option::Option::None)
        } else {
            let name = object.name.c_string()?;
            quote!(::core::option::Option::Some(#name))
        };
        objects.extend(quote_spanned! {span=>
            ::kernel::livepatch::declare::object::<#hooks>(#name, #list.get().cast()),
        });
    }
    let object_count = info.objects.len() + 1;

    // Those of vmlinux must be there when the module is initialised.
    let mut symbols = TokenStream::new();
    let mut resolved = TokenStream::new();
    for object in &info.objects {
        for symbol in &object.symbols {
            let (function, slot) = symbol.expand(&object.name);
            symbols.extend(function);
            if object.is_vmlinux() {
                let name = &symbol.name.text;
                resolved.extend(quote! {
                    // SAFETY: The static is there, defined beside it.
                    unsafe { #slot.check(#name) }?;
                });
            }
        }
    }

    let states = &info.states;
    let (states_list, states_ptr) = if states.is_empty() {
        (None, quote!(::core::ptr::null_mut()))
    } else {
        let count = states.len() + 1;
        let elements = states.iter().map(
            |state| quote_spanned!(state.span()=> ::kernel::livepatch::declare::state::<#state>()),
        );
        let list = quote! {
            static STATES: Part<[::kernel::bindings::klp_state; #count]> = Part::new([
                #(#elements,)*
                ::pin_init::zeroed(),
            ]);
        };
        let ids = states.iter().enumerate().map(|(index, state)| {
            let others = states.iter().take(index);
            quote_spanned! {state.span()=>
                const _: () = ::kernel::livepatch::declare::check_id(
                    <#state as ::kernel::livepatch::State>::ID,
                    &[#(<#others as ::kernel::livepatch::State>::ID),*],
                );
            }
        });
        (Some(quote!(#list #(#ids)*)), quote!(STATES.get().cast()))
    };

    let module_name = Literal::byte_string(info.name.value().as_bytes());
    // Kbuild makes underscores of hyphens.
    let module_cstr = Name {
        text: info.name.value().replace('-', "_"),
        span: Span::call_site(),
    }
    .c_string()?;
    let shadow = info.shadow.iter().map(|variables| {
        let Variables {
            docs,
            visibility,
            name,
            type_,
            id,
        } = variables;
        quote_spanned! {type_.span()=>
            // SAFETY: The patch has no other variables under this id, as was checked, and frees
            // these when its module is unloaded.
            #(#docs)*
            #visibility static #name: #type_ =
                unsafe { <#type_>::declare::<#state>(#module_name, #id) };
        }
    });
    let unload = info.shadow.iter().map(|variables| {
        let name = &variables.name;
        quote_spanned!(variables.type_.span()=> #name.unload();)
    });

    Ok(quote! {
        #[cfg(not(MODULE))]
        ::core::compile_error!("a livepatch is a module of its own: build it by `obj-m`");

        #module

        #stateless

        #(#shadow)*

        #symbols

        /// The module: a patch that is enabled.
        #[doc(hidden)]
        struct __Livepatch(
            #[expect(dead_code)]
            ::kernel::livepatch::declare::Enabled<#state>
        );

        impl ::kernel::Module for __Livepatch {
            fn init(module: &'static ::kernel::ThisModule) -> ::kernel::error::Result<Self> {
                // SAFETY: This is the initialisation of the patch's module.
                let enabled =
                    unsafe { ::kernel::livepatch::declare::Enabled::new(module, #module_cstr) };
                ::core::result::Result::Ok(Self(enabled?))
            }
        }

        const _: () = {
            use ::kernel::livepatch::declare::Part;

            /// Marks the module as a livepatch, for the module loader and for the core.
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static LIVEPATCH: [u8; 12] = *b"livepatch=Y\0";

            #funcs

            static OBJECTS: Part<[::kernel::bindings::klp_object; #object_count]> = Part::new([
                #objects
                ::pin_init::zeroed(),
            ]);

            #states_list

            static PATCH: Part<::kernel::bindings::klp_patch> =
                Part::new(::kernel::livepatch::declare::patch(
                    OBJECTS.get().cast(),
                    #states_ptr,
                    #replace,
                ));

            static SLOT: ::kernel::livepatch::declare::Slot<#state> =
                ::kernel::livepatch::declare::Slot::empty();

            static PENDING: ::kernel::livepatch::declare::Pending =
                ::kernel::livepatch::declare::Pending::none();

            // SAFETY: `Enabled` closes it when it is dropped.
            unsafe impl ::kernel::livepatch::declare::Owner for #state {
                fn pending() -> &'static ::kernel::livepatch::declare::Pending {
                    &PENDING
                }
            }

            // SAFETY: What is returned is declared here, for this patch alone.
            unsafe impl ::kernel::livepatch::declare::Declared for #state {
                fn slot() -> &'static ::kernel::livepatch::declare::Slot<Self> {
                    &SLOT
                }

                fn patch() -> *mut ::kernel::bindings::klp_patch {
                    PATCH.get()
                }

                fn check_symbols() -> ::kernel::error::Result {
                    #resolved
                    ::core::result::Result::Ok(())
                }

                fn free_shadow() {
                    #(#unload)*
                }
            }
        };
    })
}
