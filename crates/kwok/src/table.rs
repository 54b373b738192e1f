//! Descriptions of instance types as aligned lines for people.

use crate::describe::TypeDescription;

/// The column titles; all but the first are right-aligned.
const TITLES: [&str; 7] = [
    "NAME",
    "CPU",
    "MEMORY",
    "PODS",
    "ALLOCATABLE",
    "OFFERINGS",
    "$/HOUR FROM",
];

/// The lines of a table, titles first, without line ends.
pub fn table(types: &[TypeDescription]) -> Vec<String> {
    let rows: Vec<[String; TITLES.len()]> = std::iter::once(TITLES.map(str::to_owned))
        .chain(types.iter().map(cells))
        .collect();
    let mut widths = [0; TITLES.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells
        .iter()
        .zip(widths)
        .enumerate()
        .map(|(column, (cell, &width))| {
            if column == 0 {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
    padded.collect::<Vec<String>>().join("  ")
}

fn cells(one: &TypeDescription) -> [String; TITLES.len()] {
    let capacity = |name: &str| {
        one.capacity
            .get(name)
            .map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let left = |name: &str| {
        one.allocatable
            .get(name)
            .map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let available = one.offerings.iter().filter(|offering| offering.available);
    let cheapest = available
        .clone()
        .map(|offering| offering.price_per_hour)
        .min_by(f64::total_cmp);
    [
        one.name.clone(),
        capacity("cpu"),
        capacity("memory"),
        capacity("pods"),
        format!("{} {}", left("cpu"), left("memory")),
        // Only a difference is worth a second number.
        match (available.count(), one.offerings.len()) {
            (open, all) if open == all => all.to_string(),
            (open, all) => format!("{open} of {all}"),
        },
        cheapest.map_or_else(|| "-".to_owned(), |price| format!("{price:.4}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::{catalog::generated, describe::describe};

    #[test]
    fn columns_line_up() {
        let mut types = generated();
        types.truncate(9);
        types[1].offerings[0].available = false;
        types[2].offerings.clear();
        let lines = table(&describe(&[
            types[0].clone(),
            types[1].clone(),
            types[2].clone(),
        ]));
        assert_eq!(
            lines,
            [
                "NAME                CPU  MEMORY  PODS  ALLOCATABLE  OFFERINGS  $/HOUR FROM",
                "c-1x-amd64-linux      1     2Gi    16  900m 2038Mi          8       0.0190",
                "c-1x-amd64-windows    1     2Gi    16  900m 2038Mi     7 of 8       0.0190",
                "c-1x-arm64-linux      1     2Gi    16  900m 2038Mi          0            -",
            ]
        );
    }

    #[test]
    fn no_types_leave_the_titles() {
        assert_eq!(table(&[]).len(), 1);
    }
}
