//! As much of SVG as a picture of a plan needs.

use std::fmt::Write as _;

/// A picture being drawn.
pub(crate) struct Svg {
    body: String,
}

/// How a text stands to its point.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Where and how large.
#[derive(Clone, Copy)]
pub(crate) struct Area {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Svg {
    pub(crate) fn new() -> Self {
        Self { body: String::new() }
    }

    pub(crate) fn rect(&mut self, area: Area, radius: f64, fill: &str, stroke: &str) {
        let Area { x, y, width, height } = area;
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" rx="{radius}" fill="{fill}" stroke="{stroke}"/>"#
        );
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, style: &str) {
        let _ = writeln!(
            self.body,
            r#"<line x1="{:.2}" y1="{:.2}" x2="{:.2}" y2="{:.2}" stroke="{stroke}" {style}/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    /// A curve from left to right with an arrow at its end.
    pub(crate) fn arrow(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, style: &str) {
        let middle = f64::midpoint(from.0, to.0);
        let _ = writeln!(
            self.body,
            r#"<path d="M {:.2} {:.2} C {middle:.2} {:.2}, {middle:.2} {:.2}, {:.2} {:.2}" fill="none" stroke="{stroke}" marker-end="url(#tip)" {style}/>"#,
            from.0, from.1, from.1, to.1, to.0, to.1
        );
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), size: f64, anchor: Anchor, style: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.2}" y="{y:.2}" font-size="{size}" text-anchor="{anchor}" {style}>{text}</text>"#
        );
    }

    /// The whole document.
    pub(crate) fn finish(self, width: f64, height: f64) -> String {
        format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0}" height="{h:.0}" viewBox="0 0 {w:.0} {h:.0}" "#,
                r#"font-family="Inter, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif">"#,
                "\n",
                r##"<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="#8a94a6"/></marker></defs>"##,
                "\n",
                r##"<rect width="100%" height="100%" fill="#ffffff"/>"##,
                "\n{body}</svg>\n"
            ),
            w = width,
            h = height,
            body = self.body
        )
    }
}
