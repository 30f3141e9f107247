//! Figures as a picture.

use std::path::Path;

use plotters::{
    backend::SVGBackend,
    chart::ChartBuilder,
    coord::combinators::IntoLogRange,
    drawing::IntoDrawingArea,
    element::Circle,
    series::LineSeries,
    style::{Color, FontStyle, RGBColor, WHITE},
};

use crate::Outcome;

const SIZE: (u32, u32) = (800, 320);
const COLOURS: [RGBColor; 2] = [RGBColor(0x1f, 0x5f, 0xa8), RGBColor(0xb4, 0x3a, 0x2f)];

/// What one line shows: where on the axis, and how much.
pub struct Curve {
    pub name: &'static str,
    pub points: Vec<(u64, f64)>,
}

/// Draws curves beside each other, each with a scale of its own, over one logarithmic axis.
pub fn plot(file: &Path, axis: &str, curves: &[Curve; 2]) -> Outcome<()> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    for ((half, curve), colour) in area.split_evenly((1, 2)).iter().zip(curves).zip(COLOURS) {
        let last = curve.points.iter().map(|(at, _)| *at).max().unwrap_or(1);
        let first = curve.points.iter().map(|(at, _)| *at).min().unwrap_or(1);
        let top = curve.points.iter().map(|(_, value)| *value).fold(0.0, f64::max) * 1.1;
        let mut chart = ChartBuilder::on(half)
            .margin(12)
            .caption(curve.name, ("sans-serif", 16, FontStyle::Bold))
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d((first..last).log_scale(), 0.0..top)?;
        chart.configure_mesh().x_desc(axis).light_line_style(WHITE).draw()?;
        chart.draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?;
        let dots = curve.points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
        chart.draw_series(dots)?;
    }
    area.present()?;
    Ok(())
}
