//! Compressed answers, read as Go reads them: several members are one after the other, and what is behind the last one is an
//! error.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_core::BoxError;
use flate2::read::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Full};

use super::Body;

/// The largest answer that is decoded.
const MAX_DECODED: u64 = 1 << 30;

/// A body that breaks off before it has begun.
struct Broken(Option<BoxError>);

/// Decodes an answer that is compressed; passes any other as it comes. A body that can't be decoded breaks off, for there
/// is an answer.
pub(super) async fn decoded<B>(response: Response<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if !is_gzip(response.headers()) {
        return response.map(|body| body.map_err(Into::into).boxed_unsync());
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_ENCODING);
    parts.headers.remove(CONTENT_LENGTH);
    let body = match plain(body).await {
        Ok(plain) => Full::new(plain)
            .map_err(|never| match never {})
            .boxed_unsync(),
        Err(error) => Broken(Some(error)).boxed_unsync(),
    };
    Response::from_parts(parts, body)
}

async fn plain<B>(body: B) -> Result<Bytes, BoxError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let compressed = body.collect().await.map_err(Into::into)?.to_bytes();
    let mut plain = Vec::new();
    // Nothing at all is an empty answer, for example to HEAD.
    if !compressed.is_empty() {
        let mut decoder = MultiGzDecoder::new(&compressed[..]).take(MAX_DECODED + 1);
        decoder.read_to_end(&mut plain).map_err(told)?;
        if plain.len() as u64 > MAX_DECODED {
            return Err("the answer has more than 1 GiB".into());
        }
    }
    Ok(plain.into())
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

pub(super) fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING);
    encoding.is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

/// In Go's words.
fn told(error: io::Error) -> BoxError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected EOF".into(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => "gzip: invalid header".into(),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    async fn read(encoding: &str, body: Vec<u8>) -> Result<Bytes, String> {
        let response = Response::builder().header(CONTENT_ENCODING, encoding);
        let response = response.body(Full::new(Bytes::from(body))).unwrap();
        let response = decoded(response).await;
        assert_eq!(response.headers().len(), usize::from(encoding == "br"));
        let body = response.into_body().collect().await;
        Ok(body.map_err(|error| error.to_string())?.to_bytes())
    }

    #[tokio::test]
    async fn all_members_are_read_and_nothing_else() {
        let both = [member("one "), member("two")].concat();
        for encoding in ["gzip", "GZIP"] {
            assert_eq!(read(encoding, both.clone()).await.unwrap(), "one two");
        }
        assert_eq!(read("gzip", Vec::new()).await.unwrap(), "");
        assert_eq!(read("br", b"as it is".to_vec()).await.unwrap(), "as it is");
        let cut = both[..both.len() - 3].to_vec();
        assert_eq!(read("gzip", cut).await.unwrap_err(), "unexpected EOF");
        for behind in [
            &b"garbage"[..],
            b"garbage that is longer than a header",
            b"\0",
        ] {
            let more = [&both, behind].concat();
            assert!(read("gzip", more).await.is_err(), "{behind:?}");
        }
        assert!(
            read("gzip", b"not at all compressed".to_vec())
                .await
                .is_err()
        );
    }
}
