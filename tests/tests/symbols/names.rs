//! Says where a function of it is.

mod shop {
    #[inline(never)]
    pub(super) fn add(a: u64, b: u64) -> u64 {
        std::hint::black_box(a) * 3 + b
    }
}

fn main() {
    let add: fn(u64, u64) -> u64 = shop::add;
    println!("add {:x}\n", std::hint::black_box(add) as usize);
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
