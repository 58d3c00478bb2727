//! Whether compressing a state pays.

use limitless_faas_core::checkpoint::Compression;

/// Raw, in a build that can't compress.
#[cfg(not(feature = "zstd"))]
pub(super) fn compression(_sample: &[u8], _bandwidth_bytes_per_s: Option<u64>) -> Compression {
    Compression::None
}

/// zstd if the whole way (compress, move, decompress on the other side) is expected to take less time than moving the raw
/// bytes. The first block of the state is the sample; it is compressed once more if the answer is yes.
#[cfg(feature = "zstd")]
pub(super) fn compression(sample: &[u8], bandwidth_bytes_per_s: Option<u64>) -> Compression {
    let Some(bandwidth) = bandwidth_bytes_per_s.filter(|bandwidth| *bandwidth > 0) else {
        return Compression::None;
    };
    let started = std::time::Instant::now();
    let Ok(compressed) = zstd::bulk::compress(sample, super::write::ZSTD_LEVEL) else {
        return Compression::None;
    };
    let compress_s = started.elapsed().as_secs_f64();
    if pays(sample.len(), compressed.len(), compress_s, bandwidth) {
        Compression::Zstd
    } else {
        Compression::None
    }
}

/// The state moves twice, out and in again. Decompressing costs about half of compressing at level 1.
#[cfg(feature = "zstd")]
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn pays(raw: usize, compressed: usize, compress_s: f64, bandwidth_bytes_per_s: u64) -> bool {
    let move_s = |bytes: usize| 2.0 * bytes as f64 / bandwidth_bytes_per_s as f64;
    compress_s * 1.5 + move_s(compressed) < move_s(raw)
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use super::*;

    #[test]
    fn it_pays_where_bytes_are_slower_than_the_compressor() {
        let (raw, half) = (256 << 10, 128 << 10);
        let compress_s = 0.000_5;
        assert!(pays(raw, half, compress_s, 100_000_000), "a network at 100 MB/s");
        assert!(!pays(raw, half, compress_s, 2_000_000_000), "a disk at 2 GB/s");
        assert!(!pays(raw, raw - 100, compress_s, 100_000_000), "bytes that do not shrink");
    }

    #[test]
    fn the_sample_decides() {
        let zeros = vec![0; 256 << 10];
        assert_eq!(compression(&zeros, Some(10_000_000)), Compression::Zstd);
        assert_eq!(compression(&zeros, None), Compression::None);
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(256 << 10)
        .collect();
        assert_eq!(compression(&noise, Some(10_000_000)), Compression::None);
    }
}
