//! Whole expansions, to be read.

use crate::handler::expand;

fn expanded(source: &str) -> String {
    let tokens = expand(proc_macro2::TokenStream::new(), &source.parse().unwrap());
    prettyplease::unparse(&syn::parse2(tokens).unwrap())
}

/// The function alone; what stands beside it is the same for all.
fn body(source: &str) -> String {
    let text = expanded(source);
    text.split("#[cfg(panic = \"abort\")]").next().unwrap().to_owned()
}

#[test]
fn plain() {
    insta::assert_snapshot!(expanded(
        "/// Adds.\n///\n/// More.\n#[handler] pub fn add(ctx: Context, a: u64, b: Vec<Option<u8>>) -> Result<u64, Trouble> { Ok(a) }"
    ));
}

#[test]
fn one_loop() {
    insta::assert_snapshot!(expanded(
        "fn factors(n: u64) -> Vec<u64> {
            let mut rest = n;
            let mut found = Vec::new();
            #[checkpoint]
            for d in 2..=n.isqrt() {
                while rest % d == 0 { found.push(d); rest /= d; }
            }
            if rest > 1 { found.push(rest); }
            found
        }"
    ));
}

#[test]
fn nested_loops() {
    insta::assert_snapshot!(body(
        "fn nested(n: u64) -> u64 {
            let mut sum = 0;
            #[checkpoint]
            for i in 0..n {
                let mut row = i * 2;
                #[checkpoint]
                while row > 0 { row -= 1; sum += row; }
                sum ^= i;
            }
            sum
        }"
    ));
}

#[test]
fn two_in_a_row() {
    insta::assert_snapshot!(body(
        "fn row(items: Vec<u64>) -> u64 {
            let mut sum = 0;
            #[checkpoint]
            for item in &items { sum += item; note(sum); }
            let doubled = sum * 2;
            #[checkpoint]
            loop { sum += 1; if sum > doubled { break sum } }
        }"
    ));
}

#[test]
fn strip_mined() {
    insta::assert_snapshot!(body(
        "fn sum(n: u64) -> u64 {
            let mut sum = 0;
            #[checkpoint]
            'all: for i in 0..n { if i == 7 { continue 'all; } if i == 99 { break; } sum += i; }
            sum
        }"
    ));
}

#[test]
fn branches() {
    insta::assert_snapshot!(body(
        "fn branch(plan: Plan) -> u64 {
            let mut sum = 0;
            let last = match plan {
                Plan::Up(n) if n > 3 => { #[checkpoint] while sum < n { sum += 1; } sum }
                Plan::Stop => return 0,
                Plan::Down(mut n) => #[checkpoint] loop { n -= 1; if n == 0 { break sum; } },
            };
            if let Some(n) = more(last) {
                #[checkpoint]
                while sum < n { sum += 1; }
            }
            sum
        }"
    ));
}

#[test]
fn rebuilt() {
    insta::assert_snapshot!(body(
        "fn view(items: Vec<u64>) -> u64 {
            #[rebuild]
            let view = &items[1..];
            let mut sum = view.len();
            #[checkpoint]
            for item in view { sum += note(item); }
            sum
        }"
    ));
}

#[test]
fn asynchronous() {
    insta::assert_snapshot!(expanded(
        "async fn download(ctx: Context<()>, urls: Vec<String>) -> Result<u64> {
            let mut sum = 0;
            #[checkpoint]
            for url in &urls { sum += get(url).await?; }
            Ok(sum)
        }"
    ));
}

#[test]
fn mistakes_keep_the_function() {
    insta::assert_snapshot!(expanded(
        "fn wrong(items: Vec<u64>) -> u64 {
            let mut sum = 0;
            for _ in 0..3 { #[checkpoint] for item in &items { sum += item; } }
            sum
        }"
    ));
}

#[test]
fn what_can_t_be_parsed_stays() {
    let tokens = expand(proc_macro2::TokenStream::new(), &"fn broken(n: u64) -> u64 { n. }".parse().unwrap());
    let text = tokens.to_string();
    assert!(text.contains("compile_error") && text.ends_with("fn broken (n : u64) -> u64 { n . }"), "{text}");
}

#[test]
fn fingerprint_does_not_follow_the_layout() {
    let of = |source: &str| {
        let text = expanded(source);
        text.lines().find(|line| line.contains("fingerprint:")).unwrap().to_owned()
    };
    let one = of("/// One.\nfn f(n: u64) -> u64 { n + 1 }");
    assert_eq!(one, of("/// Another.\nfn f( n : u64 )\n-> u64 {\n  n + /* why */ 1\n}"));
    assert_ne!(one, of("fn f(n: u64) -> u64 { n + 2 }"));
    assert_ne!(one, of("fn f(n: u32) -> u64 { n + 1 }"));
}

fn workflow(source: &str) -> String {
    crate::workflow::expand(proc_macro2::TokenStream::new(), &source.parse().unwrap()).to_string()
}

#[test]
fn a_workflow_s_graph_follows_data_order_and_decisions() {
    let text = workflow(
        "async fn report(url: String) -> Result<u64> {
            let page = fetch(&url).await?;
            let hint = page.host();
            note().await;
            let (words, lang) = try_join!(count(&page), detect(&hint))?;
            if words > 3 { count(&lang).await } else { Ok(0) }
        }",
    );
    assert!(!text.contains("compile_error"), "{text}");
    let edge = |from: &str, to: &str, is_data: bool| {
        format!("EdgeDef {{ from : \"{from}\" , to : \"{to}\" , is_data : {is_data} }}")
    };
    let expected = [
        edge("fetch", "note", false),
        edge("fetch", "count", true),
        edge("note", "count", false),
        edge("fetch", "detect", true),
        edge("note", "detect", false),
        edge("count", "count#2", true),
        edge("detect", "count#2", true),
    ];
    assert_eq!(text.matches("EdgeDef").count(), expected.len(), "{text}");
    for edge in expected {
        assert!(text.contains(&edge), "{edge} is missing\n{text}");
    }
}

#[test]
fn what_no_graph_can_hold_is_refused_all_at_once_and_the_function_stays() {
    let text = workflow(
        "async fn wrong(n: u64) -> u64 {
            while twice(n).await > 3 {}
            let block = async { twice(n).await };
            let later = |n: u64| twice(n).await;
            let first = select! { a = twice(n) => a };
            println!(\"{}\", twice(n).await);
            #[retry(often)]
            let last = client.get(n).await;
            tokio::spawn(twice(last));
            join!(twice(n)).await;
            last
        }",
    );
    let refused = [
        "a loop that awaits",
        "an `async` block",
        "a closure that awaits",
        "`select!`, whose winner is not known,",
        "an `.await` inside a macro",
        "`#[retry]` says how often",
        "an `.await` on something that is not a handler's call",
        "what is spawned",
        "`join!` is awaited twice",
    ];
    for what in refused {
        assert!(text.contains(what), "{what} is not refused\n{text}");
    }
    assert!(text.contains("async fn wrong"), "{text}");
}

#[test]
fn a_workflow_without_a_node_or_async_is_refused() {
    assert!(workflow("async fn wrong(n: u64) -> u64 { n }").contains("a workflow without a node"));
    assert!(workflow("fn wrong(n: u64) -> u64 { n }").contains("a workflow is an `async fn`"));
}
