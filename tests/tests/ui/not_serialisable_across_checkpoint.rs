use limitless_faas::handler;

struct Connection;

impl Connection {
    fn send(&mut self, _: u64) {}
}

#[handler]
fn send_all(n: u64) {
    let mut connection = Connection;
    #[checkpoint]
    for i in 0..n {
        connection.send(i);
    }
}

fn main() {}
