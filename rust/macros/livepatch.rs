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
    Expr,
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
    caller: Option<Caller>,
    cfgs: Vec<Attribute>,
    replacement: Path,
}

/// A function of the patch that calls the one that is replaced: `#[original(<name>)]`.
struct Caller {
    docs: Vec<Attribute>,
    visibility: Visibility,
    name: Ident,
}

/// What the attributes of an entry say.
#[derive(Default)]
struct Attributes {
    /// Which of the symbols of that name, from 1; 0 if there is just one.
    sympos: Option<u64>,
    /// The name, where it is not that of the declaration.
    symbol: Option<LitStr>,
    /// What calls the function that is replaced.
    original: Option<(Visibility, Ident)>,
    /// Whether each CPU has its own.
    percpu: Option<Path>,
    /// Doc comments.
    docs: Vec<Attribute>,
    /// The entry is there if all of these say so.
    cfgs: Vec<Attribute>,
}

impl Attributes {
    /// Parses them, and refuses those that are not among `known`, doc comments and `#[cfg]`.
    fn parse(input: ParseStream<'_>, what: &str, known: &[(&str, &str)]) -> Result<Self> {
        let mut this = Self::default();
        for attr in input.call(Attribute::parse_outer)? {
            check_known(&attr, what, known)?;
            let twice = this.take(&attr)?;
            if twice {
                return Err(Error::new_spanned(attr, "this is given twice"));
            }
        }
        Ok(this)
    }

    /// Takes in what `attr` says, and returns whether another one has said it before.
    fn take(&mut self, attr: &Attribute) -> Result<bool> {
        Ok(match &attr.meta {
            Meta::List(list) if list.path.is_ident("sympos") => {
                let sympos = parse_sympos(list.parse_args()?)?;
                self.sympos.replace(sympos).is_some()
            }
            Meta::List(list) if list.path.is_ident("symbol") => {
                self.symbol.replace(list.parse_args()?).is_some()
            }
            Meta::List(list) if list.path.is_ident("original") => {
                let caller = list.parse_args_with(|input: ParseStream<'_>| {
                    Ok((input.parse()?, input.parse()?))
                })?;
                self.original.replace(caller).is_some()
            }
            Meta::Path(path) if path.is_ident("percpu") => {
                self.percpu.replace(path.clone()).is_some()
            }
            Meta::NameValue(value) if value.path.is_ident("doc") => {
                self.docs.push(attr.clone());
                false
            }
            Meta::List(list) if list.path.is_ident("cfg") => {
                self.cfgs.push(attr.clone());
                false
            }
            _ => {
                return Err(Error::new_spanned(
                    attr,
                    "this attribute is not written like that",
                ))
            }
        })
    }
}

/// Refuses an attribute of `what` that is not among `known`, doc comments and `#[cfg]`.
fn check_known(attr: &Attribute, what: &str, known: &[(&str, &str)]) -> Result<()> {
    let is_known = ["doc", "cfg"]
        .iter()
        .chain(known.iter().map(|(name, _)| name))
        .any(|name| attr.path().is_ident(name));
    if is_known {
        return Ok(());
    }
    let forms: String = known
        .iter()
        .map(|(_, form)| format!("`{form}`, "))
        .collect();
    Err(Error::new_spanned(
        attr,
        format!(
            "unknown attribute: {what} may have {forms}`#[cfg(<predicate>)]` and doc \
            comments"
        ),
    ))
}

/// The `number` in `#[sympos(<number>)]`.
fn parse_sympos(number: LitInt) -> Result<u64> {
    let sympos = number.base10_parse()?;
    if sympos == 0 {
        return Err(Error::new_spanned(
            number,
            "`sympos` counts from 1; leave it out where the name is unique",
        ));
    }
    Ok(sympos)
}

/// The attributes that name one of several symbols.
const SYMPOS: (&str, &str) = ("sympos", "#[sympos(<number>)]");
const SYMBOL: (&str, &str) = ("symbol", "#[symbol(\"<name>\")]");
const ORIGINAL: (&str, &str) = ("original", "#[original(<name>)]");
const PERCPU: (&str, &str) = ("percpu", "#[percpu]");

impl Attributes {
    /// The name of the symbol that is declared as `ident`.
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

/// The types of the arguments, and a name for each.
fn arguments(sig: &Signature) -> (Vec<&Type>, Vec<Ident>) {
    let types: Vec<_> = argument_types(sig).collect();
    let names = (0..types.len()).map(|i| format_ident!("arg{i}")).collect();
    (types, names)
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
        let known = [SYMPOS, SYMBOL, ORIGINAL];
        let attributes = Attributes::parse(input, "a function", &known)?;

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

        if let (Original::Known(_), Some((_, caller))) = (&original, &attributes.original) {
            return Err(Error::new_spanned(
                caller,
                "to be called, the function is to be declared: `unsafe extern \"C\" fn …`",
            ));
        }
        input.parse::<Token![=>]>()?;
        Ok(Self {
            original,
            promise,
            name,
            sympos: attributes.sympos.unwrap_or(0),
            caller: attributes.original.map(|(visibility, name)| Caller {
                docs: attributes.docs,
                visibility,
                name,
            }),
            cfgs: attributes.cfgs,
            replacement: input.parse()?,
        })
    }
}

/// The name of what is made for a symbol, for the assembler and for Rust.
fn made_for(prefix: &str, object: &Name, name: &Name, sympos: u64) -> Ident {
    format_ident!(
        "{prefix}_{}_{}_{sympos}",
        object.ident_part(),
        name.ident_part()
    )
}

/// The name of the static that tells `make check-patch` the type of an entry; `kind` is `func`,
/// `sym`, or for variables `var` or `percpu`.
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
        let cfgs = &self.cfgs;
        Ok(quote_spanned! {replacement.span()=> #(#cfgs)* {
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

    /// The call of this function of `object` itself, if there is to be one. Those `before` it come
    /// first in the list of the object's functions.
    fn original_call<'a>(
        &'a self,
        object: &'a Name,
        before: &[Function],
    ) -> Option<OriginalCall<'a>> {
        let (Some(caller), Original::Declared(sig)) = (&self.caller, &self.original) else {
            return None;
        };
        let label = made_for("__livepatch_original", object, &self.name, self.sympos).to_string();
        let behind = format_ident!("{}", label.to_uppercase(), span = caller.name.span());
        Some(OriginalCall {
            cfgs: &self.cfgs,
            caller,
            sig,
            called: &self.name,
            object,
            place: count(before.iter().map(|function| function.cfgs.as_slice())),
            label,
            behind,
        })
    }
}

/// A call of a function that is replaced, past its hook.
struct OriginalCall<'a> {
    cfgs: &'a [Attribute],
    caller: &'a Caller,
    sig: &'a Signature,
    called: &'a Name,
    object: &'a Name,
    /// Where the function is in the list of those of the object.
    place: TokenStream,
    /// The symbol of the code that goes past the hook.
    label: String,
    /// The static that says where the function goes on behind its hook.
    behind: Ident,
}

impl OriginalCall<'_> {
    /// Expands to the function of the patch that makes the call.
    fn expand(&self) -> TokenStream {
        let Self {
            cfgs,
            label,
            behind,
            ..
        } = self;
        let Caller {
            docs,
            visibility,
            name,
        } = self.caller;
        let output = &self.sig.output;
        let (types, args) = arguments(self.sig);
        let doc = self.doc();
        quote! {
            #(#cfgs)*
            static #behind: ::kernel::livepatch::declare::Behind =
                ::kernel::livepatch::declare::Behind::unknown();

            #(#cfgs)*
            ::kernel::livepatch_original!(#label, #behind);

            #(#cfgs)*
            #(#docs)*
            #[doc = #doc]
            #visibility unsafe fn #name(#(#args: #types),*) #output {
                #[allow(improper_ctypes)]
                extern "C" {
                    #[link_name = #label]
                    fn function(#(#args: #types),*) #output;
                }
                // Where the function has a pointer to its data in r2, that is for the compiler to
                // restore, which it does for what it calls by a pointer.
                #[cfg(target_arch = "powerpc64")]
                // SAFETY: It is a pointer to the same function.
                let function: unsafe extern "C" fn(#(#types),*) #output = unsafe {
                    ::core::mem::transmute(::kernel::livepatch::declare::by_pointer(
                        function as *const (),
                    ))
                };
                // SAFETY: By the requirement of this function. The author promises that the
                // function has this type.
                unsafe { function(#(#args),*) }
            }
        }
    }

    /// What is said of the function of the patch.
    fn doc(&self) -> String {
        format!(
            "\n\nCalls `{}()` of {}, which the patch replaces, itself.\n\n\
            # Safety\n\n\
            As for that function. {} must be patched, and stay so until it returns, as it does for \
            a replacement of one of its functions.",
            self.called.text, self.object.text, self.object.text
        )
    }

    /// Expands to the declaration of the code that goes past the hook.
    fn expand_stub(&self) -> TokenStream {
        let label = &self.label;
        quote! {
            extern "C" {
                #[link_name = #label]
                fn stub();
            }
        }
    }

    /// Expands to what finds the way past the hook; `funcs` is the list of the object's functions.
    fn expand_resolve(&self, funcs: &Ident) -> TokenStream {
        let Self {
            cfgs,
            place,
            behind,
            ..
        } = self;
        let stub = self.expand_stub();
        quote! {
            #(#cfgs)*
            {
                #stub
                let funcs = #funcs.get().cast::<::kernel::bindings::klp_func>();
                let func = funcs.wrapping_add(#place);
                // SAFETY: By the requirement of this function. The function has this code, which
                // nobody calls while the object is not patched, as callers promise.
                unsafe {
                    ::kernel::livepatch::declare::resolve(func, &#behind, stub as *const ())
                }?;
            }
        }
    }

    /// Expands to what forgets that way.
    fn expand_forget(&self) -> TokenStream {
        let Self { cfgs, behind, .. } = self;
        let stub = self.expand_stub();
        quote! {
            #(#cfgs)*
            {
                #stub
                // SAFETY: As in `resolve`.
                unsafe { ::kernel::livepatch::declare::forget(&#behind, stub as *const ()) };
            }
        }
    }
}

/// What a symbol stands for.
enum SymbolKind {
    /// `unsafe extern "C" fn name(…) -> …`.
    Function(Box<Signature>),
    Variable(Box<KernelVariable>),
}

/// `static name: <type>`.
struct KernelVariable {
    name: Ident,
    type_: Type,
    /// Whether each CPU has its own.
    is_percpu: bool,
}

impl KernelVariable {
    /// The kind of the variable, for [`type_symbol`].
    fn kind(&self) -> &'static str {
        if self.is_percpu {
            "percpu"
        } else {
            "var"
        }
    }

    /// The type of what says where the variable is.
    fn pointer(&self) -> TokenStream {
        let type_ = &self.type_;
        if self.is_percpu {
            quote!(::kernel::livepatch::PerCpu<#type_>)
        } else {
            quote!(::core::ptr::NonNull<#type_>)
        }
    }

    /// Expands to a value of that type, from the address `found`.
    fn expand_pointer(&self) -> TokenStream {
        if self.is_percpu {
            // SAFETY: That it is one of these is the author's promise.
            quote!(unsafe { ::kernel::livepatch::PerCpu::new(found) })
        } else {
            quote!(found)
        }
    }
}

/// A function or a variable that is not exported: `#[sympos(2)] <declaration>`.
struct Symbol {
    docs: Vec<Attribute>,
    cfgs: Vec<Attribute>,
    name: Name,
    sympos: u64,
    visibility: Visibility,
    kind: SymbolKind,
}

impl Parse for Symbol {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let known = [SYMPOS, SYMBOL, PERCPU];
        let attributes = Attributes::parse(input, "a symbol", &known)?;
        let visibility = input.parse()?;
        let (ident, kind) = if input.peek(Token![static]) {
            input.parse::<Token![static]>()?;
            let name: Ident = input.parse()?;
            input.parse::<Token![:]>()?;
            let variable = KernelVariable {
                name: name.clone(),
                type_: input.parse()?,
                is_percpu: attributes.percpu.is_some(),
            };
            (name, SymbolKind::Variable(Box::new(variable)))
        } else {
            let signature: Signature = input.parse()?;
            check_signature(&signature)?;
            if signature.unsafety.is_none() {
                return Err(Error::new_spanned(
                    &signature,
                    "what the kernel does not export is called at the caller's risk: write \
                    `unsafe`",
                ));
            }
            if let Some(percpu) = &attributes.percpu {
                return Err(Error::new_spanned(
                    percpu,
                    "this is for variables: `#[percpu] static name: <type>`",
                ));
            }
            let name = signature.ident.clone();
            (name, SymbolKind::Function(Box::new(signature)))
        };
        Ok(Self {
            name: attributes.name(&ident),
            sympos: attributes.sympos.unwrap_or(0),
            docs: attributes.docs,
            cfgs: attributes.cfgs,
            visibility,
            kind,
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
    /// The name of the place that has the address of the symbol of `object`.
    fn slot(&self, object: &Name) -> Ident {
        made_for("__livepatch", object, &self.name, self.sympos)
    }

    /// The symbol to which a livepatch relocation refers.
    fn link_name(&self, object: &Name) -> String {
        format!(
            ".klp.sym.{}.{},{}",
            object.text, self.name.text, self.sympos
        )
    }

    /// Expands to a function that calls the symbol of `object`, or returns where it is, and to the
    /// place that has its address.
    ///
    /// The address comes by a livepatch relocation. Linkers do not know these; therefore it is
    /// described in a section from which `objtool klp post-link` makes it in the end. The symbol is
    /// weak so that the module can be linked until then.
    fn expand(&self, object: &Name) -> TokenStream {
        let slot = self.slot(object);
        let symbol = self.link_name(object);
        let asm = format!(
            "\n.weak \"{symbol}\"\n\
            .pushsection .data..livepatch, \"aw\"\n\
            .balign 8\n\
            {slot}: .quad \"{symbol}\"\n\
            .popsection\n\
            {}",
            describe_relocation(&object.text, &slot.to_string(), &format!("\"{symbol}\""))
        );
        let cfgs = &self.cfgs;
        let user = match &self.kind {
            SymbolKind::Function(signature) => self.expand_function(object, signature),
            SymbolKind::Variable(variable) => self.expand_variable(object, variable),
        };
        quote! {
            #(#cfgs)*
            ::core::arch::global_asm!(
                #asm,
                reloc = const ::kernel::livepatch::declare::RELOC_TYPE,
            );

            #(#cfgs)*
            extern "C" {
                static #slot: ::kernel::livepatch::declare::Address;
            }

            #user
        }
    }

    /// Expands to a check that the symbol of `object` is there.
    fn expand_check(&self, object: &Name) -> TokenStream {
        let slot = self.slot(object);
        let name = &self.name.text;
        let cfgs = &self.cfgs;
        quote! {
            #(#cfgs)*
            // SAFETY: The static is there, defined beside it.
            unsafe { #slot.check(#name) }?;
        }
    }

    /// Expands to what tells `make check-patch` of which type the symbol is.
    fn expand_type(&self, kind: &str, object: &Name, type_: TokenStream) -> TokenStream {
        let type_symbol = type_symbol(kind, object, &self.name, self.sympos);
        let cfgs = &self.cfgs;
        quote! {
            #(#cfgs)*
            const _: () = {
                #[export_name = #type_symbol]
                #[link_section = ".init.rodata"]
                #[used(compiler)]
                static mut TYPE: *const #type_ = ::core::ptr::null();
            };
        }
    }

    /// Expands to a function that returns where the variable is.
    fn expand_variable(&self, object: &Name, variable: &KernelVariable) -> TokenStream {
        let KernelVariable {
            name,
            type_,
            is_percpu,
        } = variable;
        let slot = self.slot(object);
        let static_ = self.expand_type(variable.kind(), object, type_.to_token_stream());
        let (cfgs, docs, visibility) = (&self.cfgs, &self.docs, &self.visibility);
        let called = &self.name.text;
        let which = if *is_percpu {
            "where each CPU has"
        } else {
            "where there is"
        };
        let doc = format!("\n\nReturns {which} `{called}` of {}.", object.text);
        let (pointer, convert) = (variable.pointer(), variable.expand_pointer());
        let found = quote! {
            // SAFETY: The static is there, defined above.
            let found = ::core::ptr::NonNull::new(unsafe { #slot.get() } as *mut #type_);
        };
        let (more, result, body) = if object.text == "vmlinux" {
            let body = quote! {
                #found
                // SAFETY: The address was there when the module was initialised.
                let found = unsafe { found.unwrap_unchecked() };
                // SAFETY: The author promises that it is one for each CPU, if it says so.
                #convert
            };
            (String::new(), pointer, body)
        } else {
            let body = quote! {
                #found
                // SAFETY: The author promises that it is one for each CPU, if it says so.
                found.map(|found| #convert)
            };
            (
                format!(
                    " `None` if {} is not loaded. What is returned is valid until that is \
                    unloaded.",
                    object.text
                ),
                quote!(::core::option::Option<#pointer>),
                body,
            )
        };
        quote! {
            #static_

            #(#cfgs)*
            #(#docs)*
            #[doc = #doc]
            #[doc = #more]
            #visibility fn #name() -> #result {
                #body
            }
        }
    }

    /// Expands to a function that calls the symbol.
    fn expand_function(&self, object: &Name, signature: &Signature) -> TokenStream {
        let name = &signature.ident;
        let slot = self.slot(object);
        let jump = format_ident!("{slot}_jump");
        let jump_code = self.expand_jump(object, &jump);
        let call = expand_call(signature, &slot, &jump);
        let (cfgs, docs, visibility) = (&self.cfgs, &self.docs, &self.visibility);
        let output = &signature.output;
        let (types, args) = arguments(signature);
        let static_ = self.expand_type(
            "sym",
            object,
            quote!(unsafe extern "C" fn(#(#types),*) #output),
        );
        // A paragraph of its own, behind what the author says.
        let doc = self.function_doc(object);
        let result = match output {
            ReturnType::Default => quote!(()),
            ReturnType::Type(_, type_) => type_.to_token_stream(),
        };
        let (result, absent, present) = if object.text == "vmlinux" {
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
        quote! {
            #jump_code

            #static_

            #(#cfgs)*
            #(#docs)*
            #[doc = #doc]
            #visibility unsafe fn #name(#(#args: #types),*) -> #result {
                #absent
                #call
                #present
            }
        }
    }

    /// What is said of the function that calls the symbol.
    fn function_doc(&self, object: &Name) -> String {
        let called = &self.name.text;
        let object_name = &object.text;
        let module = (object_name != "vmlinux").then(|| {
            format!(
                " Returns `None` without calling it if {object_name} is not loaded.\n\n# Safety\n\n\
                As for that function. {object_name} must not be unloaded meanwhile, as it is not \
                where one of its functions runs, or what replaces one."
            )
        });
        let module = module.unwrap_or("\n\n# Safety\n\nAs for that function.".into());
        format!("\n\nCalls `{called}()` of {object_name}.{module}")
    }

    /// Expands to a jump to the symbol, called `jump`.
    fn expand_jump(&self, object: &Name, jump: &Ident) -> TokenStream {
        let symbol = self.link_name(object);
        // A jump of 5 bytes, whose last four are the distance to the symbol from behind them.
        let asm = format!(
            "\n.pushsection .text, \"ax\", @progbits\n\
            .type {jump}, @function\n\
            {jump}:\n\
            .L{jump}: jmp \"{symbol}\"\n\
            .size {jump}, . - {jump}\n\
            .popsection\n\
            {}",
            describe_relocation(
                &object.text,
                &format!(".L{jump} + 1"),
                &format!("\"{symbol}\" - 4")
            )
        );
        let cfgs = &self.cfgs;
        quote! {
            // Where each address that is called has to be marked as such (IBT, kCFI), a function is
            // not that nobody calls by its address. So it is jumped to, from a place that is called
            // by name.
            #[cfg(target_arch = "x86_64")]
            #(#cfgs)*
            ::core::arch::global_asm!(
                #asm,
                reloc = const ::kernel::livepatch::declare::JUMP_RELOC_TYPE,
            );
        }
    }
}

/// Expands to a call that leaves what it returns in `result`: by `jump`, or, where there is none,
/// by the address in `slot`.
fn expand_call(signature: &Signature, slot: &Ident, jump: &Ident) -> TokenStream {
    let output = &signature.output;
    let (types, args) = arguments(signature);
    let jump_name = jump.to_string();
    quote! {
        // Types of bindgen are C's, whatever the lint thinks of them.
        #[cfg(target_arch = "x86_64")]
        #[allow(improper_ctypes)]
        extern "C" {
            #[link_name = #jump_name]
            fn function(#(#args: #types),*) #output;
        }
        // SAFETY: The relocation has written the address of the function, which has this type, as
        // its author promises.
        #[cfg(not(target_arch = "x86_64"))]
        let function: unsafe extern "C" fn(#(#types),*) #output =
            unsafe { ::core::mem::transmute(#slot.get()) };
        // SAFETY: By the requirement of this function. The author promises that the function has
        // this type.
        let result = unsafe { function(#(#args),*) };
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
    cfgs: Vec<Attribute>,
    name: Name,
    functions: Vec<Function>,
    symbols: Vec<Symbol>,
    callbacks: Option<Type>,
}

impl Parse for Object {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = Attributes::parse(input, "an object", &[])?;
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
            let promise = entries.first().map(|symbol| symbol.name.span);
            check_promise(*unsafety, "symbols", promise)?;
        }
        let mut functions = functions.map_or(Vec::new(), |list| list.entries);
        let mut symbols = symbols.map_or(Vec::new(), |list| list.entries);
        // What it has is there under its conditions.
        let functions_cfgs = functions.iter_mut().map(|function| &mut function.cfgs);
        let symbols_cfgs = symbols.iter_mut().map(|symbol| &mut symbol.cfgs);
        for cfgs in functions_cfgs.chain(symbols_cfgs) {
            cfgs.extend(attributes.cfgs.iter().cloned());
        }
        Ok(Self {
            cfgs: attributes.cfgs,
            name,
            functions,
            symbols,
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
        // Of those that are there under a condition, the core finds out.
        for function in self.functions.iter().filter(|entry| entry.cfgs.is_empty()) {
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
            cfgs: Vec::new(),
            name: Name {
                text: "vmlinux".into(),
                span: Span::call_site(),
            },
            functions: Vec::new(),
            symbols: Vec::new(),
            callbacks: None,
        }
    }

    /// Expands to what the patch has for the object. `index` is the object's in the patch, and
    /// `number` that of its first function.
    fn expand(&self, index: usize, number: usize, types: &PatchTypes) -> Result<ExpandedObject> {
        let list = format_ident!("FUNCS_{index}");
        let functions = self.expand_functions(&list, number)?;

        let calls: Vec<_> = self
            .functions
            .iter()
            .enumerate()
            .filter_map(|(index, function)| {
                function.original_call(&self.name, &self.functions[..index])
            })
            .collect();
        let originals = (!calls.is_empty()).then(|| format_ident!("Originals{index}"));
        let resolver = originals
            .as_ref()
            .map(|originals| self.expand_originals(originals, &list, &calls));

        let hooks = self.hooks(types, originals.as_ref());
        let name = if self.is_vmlinux() {
            quote!(::core::option::Option::None)
        } else {
            let name = self.name.c_string()?;
            quote!(::core::option::Option::Some(#name))
        };
        let cfgs = &self.cfgs;
        Ok(ExpandedObject {
            functions: quote!(#functions #resolver),
            callers: calls.iter().map(OriginalCall::expand).collect(),
            symbols: self
                .symbols
                .iter()
                .map(|symbol| symbol.expand(&self.name))
                .collect(),
            element: quote_spanned! {self.span()=>
                #(#cfgs)*
                ::kernel::livepatch::declare::object::<#hooks>(#name, #list.get().cast()),
            },
        })
    }

    /// Expands to the `list` of the functions, of which the first has this `number` in the patch.
    fn expand_functions(&self, list: &Ident, number: usize) -> Result<TokenStream> {
        let cfgs = &self.cfgs;
        let len = count(self.functions.iter().map(|entry| entry.cfgs.as_slice()));
        let functions = self
            .functions
            .iter()
            .zip(number..)
            .map(|(function, number)| function.expand(&self.name, number))
            .collect::<Result<Vec<_>>>()?;
        // They go on up to one that is all zero.
        Ok(quote! {
            #(#cfgs)*
            static #list: Part<[::kernel::bindings::klp_func; #len + 1]> = Part::new([
                #(#functions,)*
                ::pin_init::zeroed(),
            ]);
        })
    }

    /// Expands to the type `originals`, which finds the ways of `calls` past the hooks; `list` is
    /// that of the functions.
    fn expand_originals(
        &self,
        originals: &Ident,
        list: &Ident,
        calls: &[OriginalCall<'_>],
    ) -> TokenStream {
        let cfgs = &self.cfgs;
        let resolve = calls.iter().map(|call| call.expand_resolve(list));
        let forget = calls.iter().map(OriginalCall::expand_forget);
        quote! {
            #(#cfgs)*
            struct #originals;

            #(#cfgs)*
            impl ::kernel::livepatch::declare::Originals for #originals {
                unsafe fn resolve() -> ::kernel::error::Result {
                    #(#resolve)*
                    ::core::result::Result::Ok(())
                }

                unsafe fn forget() {
                    #(#forget)*
                }
            }
        }
    }

    /// Expands to checks that the symbols are there.
    fn expand_symbol_checks(&self) -> TokenStream {
        self.symbols
            .iter()
            .map(|symbol| symbol.expand_check(&self.name))
            .collect()
    }

    /// Expands to the type with what the object does when it is patched and unpatched. `originals`
    /// finds the functions that are called past their hooks.
    fn hooks(&self, types: &PatchTypes, originals: Option<&Ident>) -> TokenStream {
        let state = &types.state;
        // What a type lacks is reported where it is named.
        let span = self.span();
        let mut hooks = match &self.callbacks {
            Some(callbacks) => quote_spanned! {callbacks.span()=>
                ::kernel::livepatch::declare::WithCallbacks<#callbacks>
            },
            None => quote!(::kernel::livepatch::declare::NoHooks),
        };
        if let (true, Some(states)) = (self.is_vmlinux(), &types.states) {
            hooks = quote_spanned! {span=>
                ::kernel::livepatch::declare::WithStates<#state, #states, #hooks>
            };
        }
        if self.is_vmlinux() && types.has_state {
            hooks = quote_spanned!(span=> ::kernel::livepatch::declare::WithPatch<#state, #hooks>);
        }
        // First of all: the other hooks may call them.
        if let Some(originals) = originals {
            hooks = quote! {
                ::kernel::livepatch::declare::WithOriginals<#state, #originals, #hooks>
            };
        }
        hooks
    }
}

/// What the patch has for an object.
struct ExpandedObject {
    /// The list of its functions, and what finds the ways past their hooks.
    functions: TokenStream,
    /// What calls functions past their hooks.
    callers: TokenStream,
    /// What calls or finds its symbols.
    symbols: TokenStream,
    /// Its element in the list of objects.
    element: TokenStream,
}

/// Shadow variables: `pub(crate) NAME: <type> = <id>`.
struct Variables {
    docs: Vec<Attribute>,
    cfgs: Vec<Attribute>,
    visibility: Visibility,
    name: Ident,
    type_: Type,
    id: LitInt,
}

impl Parse for Variables {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = Attributes::parse(input, "shadow variables", &[])?;
        let visibility = input.parse()?;
        let name = input.parse()?;
        input.parse::<Token![:]>()?;
        let type_ = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self {
            docs: attributes.docs,
            cfgs: attributes.cfgs,
            visibility,
            name,
            type_,
            id: input.parse()?,
        })
    }
}

impl Variables {
    /// Expands to the static, and to a check that none of those `before` it has its id. The patch
    /// has this `state` of its own, and its module is called `module`.
    fn expand(&self, before: &[Self], state: &TokenStream, module: &Literal) -> TokenStream {
        let others = before.iter().map(|other| {
            let (cfgs, id) = (&other.cfgs, &other.id);
            quote!(#(#cfgs)* #id)
        });
        let Self {
            docs,
            cfgs,
            visibility,
            name,
            type_,
            id,
        } = self;
        quote_spanned! {type_.span()=>
            #(#cfgs)*
            const _: () =
                ::kernel::livepatch::declare::check_shadow_id(#id, &[#(#others),*]);

            // SAFETY: The patch has no other variables under this id, as was checked, and frees
            // these when its module is unloaded.
            #(#cfgs)*
            #(#docs)*
            #visibility static #name: #type_ =
                unsafe { <#type_>::declare::<#state>(#module, #id) };
        }
    }

    /// Expands to what frees them when the module is unloaded.
    fn expand_unload(&self) -> TokenStream {
        let (cfgs, name) = (&self.cfgs, &self.name);
        quote_spanned!(self.type_.span()=> #(#cfgs)* #name.unload();)
    }
}

/// A parameter that can be written at any time:
/// `name: Atomic<u32> { default: 1, description: "…" }`.
struct AtomicParam {
    docs: Vec<Attribute>,
    cfgs: Vec<Attribute>,
    name: Ident,
    /// What is in the `Atomic`.
    type_: Ident,
    default: Expr,
    description: LitStr,
}

/// Module parameters.
enum Param {
    Atomic(Box<AtomicParam>),
    /// One that `module!` knows.
    Fixed(TokenStream),
}

impl Parse for Param {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = Attributes::parse(input, "a parameter", &[])?;
        let name: Ident = input.parse()?;
        input.parse::<Token![:]>()?;
        let type_: Ident = input.parse()?;
        if type_ != "Atomic" {
            let mut attrs = attributes.docs.iter().chain(&attributes.cfgs);
            if let Some(attr) = attrs.next() {
                return Err(Error::new_spanned(
                    attr,
                    "parameters have attributes here if they are `Atomic`: for others `module!` \
                    has none",
                ));
            }
            let fields: TokenTree = input.parse()?;
            return Ok(Self::Fixed(quote!(#name: #type_ #fields)));
        }
        input.parse::<Token![<]>()?;
        let type_ = input.parse()?;
        input.parse::<Token![>]>()?;
        let fields;
        braced!(fields in input);
        parse_ordered_fields!(
            from fields;
            default [required] => fields.parse()?,
            description [required] => fields.parse()?,
        );
        Ok(Self::Atomic(Box::new(AtomicParam {
            docs: attributes.docs,
            cfgs: attributes.cfgs,
            name,
            type_,
            default,
            description,
        })))
    }
}

impl AtomicParam {
    /// Expands to the static, and to what makes it a parameter of the module.
    fn expand(&self) -> Result<TokenStream> {
        let Self {
            docs,
            cfgs,
            name,
            type_,
            default,
            description,
        } = self;
        let c_name = Name::from(name).c_string()?;
        let info = |field: &str, value: String| {
            let text = format!("{field}={}:{value}\0", name.unraw());
            let (len, text) = (text.len(), Literal::byte_string(text.as_bytes()));
            quote! {
                const _: () = {
                    #[link_section = ".modinfo"]
                    #[used(compiler)]
                    static INFO: [u8; #len] = *#text;
                };
            }
        };
        let parmtype = info("parmtype", type_.to_string());
        let parm = info("parm", description.value());
        Ok(quote_spanned! {type_.span()=>
            #(#cfgs)*
            #(#docs)*
            #[allow(non_upper_case_globals)]
            pub(crate) static #name: ::kernel::sync::atomic::Atomic<#type_> =
                ::kernel::sync::atomic::Atomic::new(#default);

            #(#cfgs)*
            const _: () = {
                #[link_section = "__param"]
                #[used(compiler)]
                static PARAM: ::kernel::module_param::KernelParam =
                    ::kernel::module_param::KernelParam::new(
                        ::kernel::livepatch::param::declare::<#type_>(
                            #c_name,
                            // SAFETY: The module loader makes it, and it stays as long as the
                            // module does.
                            unsafe {
                                ::core::ptr::from_ref(&::kernel::bindings::__this_module)
                                    .cast_mut()
                            },
                            &#name,
                        ),
                    );

                #parmtype
                #parm
            };
        })
    }
}

/// A state of the patch: `<type>`.
struct StateEntry {
    cfgs: Vec<Attribute>,
    type_: Type,
}

impl Parse for StateEntry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = Attributes::parse(input, "a state", &[])?;
        Ok(Self {
            cfgs: attributes.cfgs,
            type_: input.parse()?,
        })
    }
}

/// The name of the list of types that has the states from `index` on.
fn states_from(index: usize) -> Ident {
    format_ident!("States{index}")
}

/// `#[cfg]` of the opposite of all of `cfgs`.
fn cfg_not(cfgs: &[Attribute]) -> TokenStream {
    let predicates = cfgs.iter().filter_map(|attr| match &attr.meta {
        Meta::List(list) => Some(&list.tokens),
        _ => None,
    });
    quote!(#[cfg(not(all(#(#predicates),*)))])
}

/// Expands to the number of the entries that have these attributes, and are there.
fn count<'a>(entries: impl Iterator<Item = &'a [Attribute]>) -> TokenStream {
    let entries = entries.map(|cfgs| quote!(#(#cfgs)* ()));
    quote!({
        const ENTRIES: &[()] = &[#(#entries),*];
        ENTRIES.len()
    })
}

pub(crate) struct Livepatch {
    type_: Option<Type>,
    name: AsciiLitStr,
    authors: Option<TokenTree>,
    description: Option<TokenTree>,
    license: TokenTree,
    params: Vec<Param>,
    replace: Option<LitBool>,
    states: Vec<StateEntry>,
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
            params => {
                let list;
                braced!(list in input);
                Punctuated::<Param, Token![,]>::parse_terminated(&list)?
            },
            replace => input.parse()?,
            states => {
                let list;
                bracketed!(list in input);
                Punctuated::<StateEntry, Token![,]>::parse_terminated(&list)?
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
            params: params.into_iter().flatten().collect(),
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
            if let (true, Some(cfg)) = (object.is_vmlinux(), object.cfgs.first()) {
                return Err(Error::new_spanned(
                    cfg,
                    "vmlinux is always there: write `#[cfg]` before what it has",
                ));
            }
            if !object.cfgs.is_empty() {
                continue;
            }
            if let Some(first) = names.insert(&object.name.text, object.name.span) {
                return Err(twice(
                    object.name.span,
                    first,
                    format!("the object `{}` is there twice", object.name.text),
                ));
            }
        }
        for object in &self.objects {
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
                    &state.type_,
                    "states come and go with vmlinux: add `vmlinux: {}` to `objects`",
                ));
            }
        }
        let mut ids = HashMap::new();
        for variables in self.shadow.iter().filter(|entry| entry.cfgs.is_empty()) {
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

    /// Expands to the list of states with its checks, and to the type that has them all.
    fn expand_states(&self) -> TokenStream {
        if self.states.is_empty() {
            return TokenStream::new();
        }
        let len = count(self.states.iter().map(|state| state.cfgs.as_slice()));
        let elements = self.states.iter().map(|StateEntry { cfgs, type_ }| {
            quote_spanned! {type_.span()=>
                #(#cfgs)*
                ::kernel::livepatch::declare::state::<#type_>()
            }
        });
        // A list of types, as pairs of one and the rest.
        let pairs = (0..self.states.len()).map(|index| self.expand_state(index));
        let end = states_from(self.states.len());
        quote! {
            static STATES: Part<[::kernel::bindings::klp_state; #len + 1]> = Part::new([
                #(#elements,)*
                ::pin_init::zeroed(),
            ]);

            #(#pairs)*

            type #end = ();
        }
    }

    /// Expands to the type that has the states from `index` on, and to the place and the check of
    /// the first of them.
    fn expand_state(&self, index: usize) -> TokenStream {
        let StateEntry { cfgs, type_ } = &self.states[index];
        let before = &self.states[..index];
        let (list, rest) = (states_from(index), states_from(index + 1));
        let others = before.iter().map(|StateEntry { cfgs, type_ }| {
            quote!(#(#cfgs)* <#type_ as ::kernel::livepatch::State>::ID)
        });
        let place = count(before.iter().map(|state| state.cfgs.as_slice()));
        let absent = (!cfgs.is_empty()).then(|| {
            let not = cfg_not(cfgs);
            quote!(#not type #list = #rest;)
        });
        quote_spanned! {type_.span()=>
            #(#cfgs)*
            type #list = (#type_, #rest);
            #absent

            // SAFETY: It is the one in this place of the list.
            #(#cfgs)*
            unsafe impl ::kernel::livepatch::declare::Placed for #type_ {
                fn place() -> *mut ::kernel::bindings::klp_state {
                    let states = STATES.get().cast::<::kernel::bindings::klp_state>();
                    // Those before it come first.
                    states.wrapping_add(#place)
                }
            }

            #(#cfgs)*
            const _: () = ::kernel::livepatch::declare::check_id(
                <#type_ as ::kernel::livepatch::State>::ID,
                &[#(#others),*],
            );
        }
    }

    /// Expands to the type of the patch's own state, if the author has given none.
    fn expand_stateless(&self) -> Option<TokenStream> {
        self.type_.is_none().then(|| {
            quote! {
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
            }
        })
    }

    /// Expands the objects, whose functions are numbered throughout.
    fn expand_objects(&self, types: &PatchTypes) -> Result<Vec<ExpandedObject>> {
        let mut functions = 0;
        let objects = self.objects.iter().enumerate().map(|(index, object)| {
            let number = functions;
            functions += object.functions.len();
            object.expand(index, number, types)
        });
        objects.collect()
    }

    /// Expands to the parameters that `module!` does not know.
    fn expand_params(&self) -> Result<TokenStream> {
        let params = self.params.iter().filter_map(|param| match param {
            Param::Atomic(param) => Some(param.expand()),
            Param::Fixed(_) => None,
        });
        params.collect()
    }

    /// Expands to the shadow variables of a patch that has this `state` of its own.
    fn expand_shadow(&self, state: &TokenStream) -> TokenStream {
        let module = Literal::byte_string(self.name.value().as_bytes());
        let shadow = self.shadow.iter().enumerate();
        shadow
            .map(|(index, variables)| variables.expand(&self.shadow[..index], state, &module))
            .collect()
    }

    /// Expands to the type of the module, which enables the patch with this `state`.
    fn expand_module_type(&self, state: &TokenStream) -> Result<TokenStream> {
        // Kbuild makes underscores of hyphens.
        let module_cstr = Name {
            text: self.name.value().replace('-', "_"),
            span: Span::call_site(),
        }
        .c_string()?;
        Ok(quote! {
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
        })
    }

    /// Expands to the structures of the patch, for the core.
    fn expand_structures(&self, objects: &[ExpandedObject], types: &PatchTypes) -> TokenStream {
        let functions = objects.iter().map(|object| &object.functions);
        let elements = objects.iter().map(|object| &object.element);
        let object_count = count(self.objects.iter().map(|object| object.cfgs.as_slice()));
        let states = self.expand_states();
        let states_ptr = if types.states.is_some() {
            quote!(STATES.get().cast())
        } else {
            quote!(::core::ptr::null_mut())
        };
        let replace = self.replace.as_ref().is_some_and(LitBool::value);
        // The objects go on up to one that is all zero.
        quote! {
            #(#functions)*

            static OBJECTS: Part<[::kernel::bindings::klp_object; #object_count + 1]> = Part::new([
                #(#elements)*
                ::pin_init::zeroed(),
            ]);

            #states

            static PATCH: Part<::kernel::bindings::klp_patch> =
                Part::new(::kernel::livepatch::declare::patch(
                    OBJECTS.get().cast(),
                    #states_ptr,
                    #replace,
                ));
        }
    }

    /// Expands to what ties the structures of the patch to its `state`.
    fn expand_declared(&self, state: &TokenStream) -> TokenStream {
        // Those of vmlinux must be there when the module is initialised.
        let vmlinux = self.objects.iter().filter(|object| object.is_vmlinux());
        let checks = vmlinux.map(Object::expand_symbol_checks);
        let unload = self.shadow.iter().map(Variables::expand_unload);
        quote! {
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
                    #(#checks)*
                    ::core::result::Result::Ok(())
                }

                fn free_shadow() {
                    #(#unload)*
                }
            }
        }
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
        let params: Vec<_> = self
            .params
            .iter()
            .filter_map(|param| match param {
                Param::Fixed(param) => Some(param),
                Param::Atomic(_) => None,
            })
            .collect();
        let params = (!params.is_empty()).then(|| quote!(params: { #(#params,)* },));
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

/// The types of a patch that its objects are declared with.
struct PatchTypes {
    /// The type of the patch's own state.
    state: TokenStream,
    /// Whether that is the author's.
    has_state: bool,
    /// The list of the patch's states, if it has any.
    states: Option<Ident>,
}

impl From<&Livepatch> for PatchTypes {
    fn from(info: &Livepatch) -> Self {
        let state = info.type_.as_ref().map(Type::to_token_stream);
        Self {
            has_state: state.is_some(),
            state: state.unwrap_or_else(|| quote!(__LivepatchState)),
            states: (!info.states.is_empty()).then(|| states_from(0)),
        }
    }
}

pub(crate) fn livepatch(info: Livepatch) -> Result<TokenStream> {
    let module = info.expand_module()?;
    let types = PatchTypes::from(&info);
    let state = &types.state;
    let stateless = info.expand_stateless();
    let objects = info.expand_objects(&types)?;
    let callers = objects.iter().map(|object| &object.callers);
    let symbols = objects.iter().map(|object| &object.symbols);
    let params = info.expand_params()?;
    let module_type = info.expand_module_type(state)?;
    let shadow = info.expand_shadow(state);
    let structures = info.expand_structures(&objects, &types);
    let declared = info.expand_declared(state);
    Ok(quote! {
        #[cfg(not(MODULE))]
        ::core::compile_error!("a livepatch is a module of its own: build it by `obj-m`");

        #module

        #stateless

        #shadow

        #(#symbols)*

        #(#callers)*

        #params

        #module_type

        const _: () = {
            use ::kernel::livepatch::declare::Part;

            /// Marks the module as a livepatch, for the module loader and for the core.
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static LIVEPATCH: [u8; 12] = *b"livepatch=Y\0";

            #structures

            #declared
        };
    })
}
