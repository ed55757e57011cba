//! Opens a listening socket. `[::]` takes IPv4 as well, and where the system has no IPv6 it means IPv4.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted, as tokio's own listeners have it.
const BACKLOG: i32 = 1024;

/// Listens on `address`. Must be called within the runtime.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(first(address, open)?.into())
}

/// What `open` makes of the address, or of that of IPv4 which stands for it.
fn first<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let opened = open(address);
    let any = address.ip() == Ipv6Addr::UNSPECIFIED;
    match opened {
        Err(error) if any && has_no_ipv6(&error) => {
            tracing::info!(%error, "no IPv6 here: listening on IPv4");
            open((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        opened => opened,
    }
}

/// The kernel was started without IPv6, or it is switched off for every interface.
fn has_no_ipv6(error: &io::Error) -> bool {
    /// EAFNOSUPPORT.
    const NO_SUCH_FAMILY: i32 = 97;
    error.raw_os_error() == Some(NO_SUCH_FAMILY) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    if address.is_ipv6() {
        // The system may be set the other way (net.ipv6.bindv6only).
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

    #[tokio::test]
    async fn the_default_takes_ipv4_whether_there_is_ipv6_or_not() {
        let listener = listen(ANY).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(from.port(), client.local_addr().unwrap().port());
    }

    #[test]
    fn without_ipv6_any_address_is_any_of_ipv4() {
        let open = |address: SocketAddr| match address {
            SocketAddr::V6(_) => Err(io::Error::from_raw_os_error(97)),
            SocketAddr::V4(_) => Ok(address),
        };
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8443));
        assert_eq!(first(any, open).unwrap().to_string(), "0.0.0.0:8443");
        let loopback = SocketAddr::from((Ipv6Addr::LOCALHOST, 8443));
        assert_eq!(
            first(loopback, open).unwrap_err().raw_os_error(),
            Some(97),
            "it was asked for"
        );
    }

    #[test]
    fn another_error_is_not_taken_for_a_lack_of_ipv6() {
        let open = |_: SocketAddr| -> io::Result<()> { Err(io::ErrorKind::AddrInUse.into()) };
        assert_eq!(first(ANY, open).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
