//! Renders a picture of the Mandelbrot set, row by row, over as many invocations as it takes.
//!
//! ```sh
//! cargo faas run fractal --time-limit 2s --input '{"width": 1200, "height": 900, "path": "/tmp/fractal.png"}'
//! ```

use std::io::BufWriter;

use base64::Engine as _;
use limitless_faas::{Result, handler};
use serde::{Deserialize, Serialize};

/// Which part of the plane, how large and how closely looked at.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Picture {
    /// In pixels.
    width: u32,
    /// In pixels.
    height: u32,
    /// The middle of the picture, real part.
    real: f64,
    /// The middle of the picture, imaginary part.
    imaginary: f64,
    /// The width of the part that is shown.
    span: f64,
    /// Turns after which a point counts as one of the set.
    depth: u32,
    /// Where to write the PNG; without it the result holds it in Base64.
    path: Option<String>,
}

impl Default for Picture {
    fn default() -> Self {
        // The valley of the seahorses.
        Self {
            width: 640,
            height: 480,
            real: -0.745,
            imaginary: 0.1115,
            span: 0.012,
            depth: 3000,
            path: None,
        }
    }
}

/// The picture that was made.
#[derive(Debug, Serialize)]
struct Rendered {
    width: u32,
    height: u32,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Renders the Mandelbrot set as a PNG.
#[handler]
fn fractal(picture: Picture) -> Result<Rendered> {
    let mut pixels: Vec<u8> = Vec::new();
    #[checkpoint]
    for row in 0..picture.height {
        for column in 0..picture.width {
            pixels.push(shade(&picture, column, row));
        }
    }
    let png = encode(&picture, &pixels)?;
    let bytes = png.len();
    let Picture { width, height, path, .. } = picture;
    let base64 = match &path {
        // Should the process end before the result is recorded, the same bytes are written again.
        Some(path) => {
            std::fs::write(path, &png)?;
            None
        }
        None => Some(base64::engine::general_purpose::STANDARD.encode(&png)),
    };
    Ok(Rendered { width, height, bytes, path, base64 })
}

/// The colour's number for one pixel: 0 inside the set.
fn shade(picture: &Picture, column: u32, row: u32) -> u8 {
    let pixel = picture.span / f64::from(picture.width);
    let re = picture.real + (f64::from(column) - f64::from(picture.width) / 2.0) * pixel;
    let im = picture.imaginary - (f64::from(row) - f64::from(picture.height) / 2.0) * pixel;
    let (mut x, mut y) = (0.0, 0.0);
    for turn in 0..picture.depth {
        let (x2, y2): (f64, f64) = (x * x, y * y);
        if x2 + y2 > 256.0 {
            // Between two turns by how far it got, so that there are no bands.
            let part = f64::from(turn) + 1.0 - (0.5 * (x2 + y2).ln()).log2();
            return colour(part.max(0.0).sqrt() * 14.0);
        }
        y = 2.0 * x * y + im;
        x = x2 - y2 + re;
    }
    0
}

/// The colours go round: 1 to 255, and from 1 again.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0.0 ≤ at % 255.0 < 255.0")]
fn colour(at: f64) -> u8 {
    1 + (at % 255.0) as u8
}

/// Black, and then 255 colours that go from night blue over white and gold around to night blue.
fn palette() -> Vec<u8> {
    const STOPS: [[u8; 3]; 6] =
        [[0, 7, 60], [25, 100, 190], [237, 250, 255], [255, 180, 20], [70, 10, 10], [0, 7, 60]];
    const BETWEEN: u8 = 51;
    let mut colours = vec![0; 3];
    for stops in STOPS.windows(2) {
        for step in 0..BETWEEN {
            let mix = |from: u8, to: u8| {
                let sum = u16::from(from) * u16::from(BETWEEN - step) + u16::from(to) * u16::from(step);
                // A mean of two bytes is a byte.
                u8::try_from(sum / u16::from(BETWEEN)).unwrap_or(u8::MAX)
            };
            colours.extend([0, 1, 2].map(|c| mix(stops[0][c], stops[1][c])));
        }
    }
    colours
}

fn encode(picture: &Picture, pixels: &[u8]) -> Result<Vec<u8>> {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(BufWriter::new(&mut png), picture.width, picture.height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette());
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(png)
}

fn main() {
    limitless_faas::serve!(fractal);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Picture {
        Picture { width: 32, height: 24, depth: 200, real: -0.5, imaginary: 0.0, span: 4.0, path: None }
    }

    #[test]
    fn the_picture_is_a_png_of_its_size() {
        let rendered = fractal(small()).unwrap();
        let png = base64::engine::general_purpose::STANDARD.decode(rendered.base64.unwrap()).unwrap();
        assert_eq!(png.len(), rendered.bytes);
        let decoder = png::Decoder::new(std::io::Cursor::new(png));
        let mut reader = decoder.read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (32, 24));
        let mut pixels = vec![0; 32 * 24];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels[12 * 32 + 16], 0, "the middle is in the set");
        assert_ne!(pixels[0], 0, "the corner is not");
    }

    #[test]
    fn the_set_mirrors_at_the_real_axis() {
        let picture = small();
        for column in 0..32 {
            assert_eq!(shade(&picture, column, 5), shade(&picture, column, 24 - 5));
        }
    }

    #[test]
    fn a_path_gets_the_bytes() {
        let path = std::env::temp_dir().join(format!("limitless-faas-fractal-{}.png", std::process::id()));
        let rendered = fractal(Picture { path: Some(path.display().to_string()), ..small() }).unwrap();
        let written = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(written.len(), rendered.bytes);
        assert!(fractal(Picture { path: Some("/no/such/folder/x.png".into()), ..small() }).is_err());
    }
}
