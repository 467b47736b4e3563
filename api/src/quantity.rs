//! Quantities: `100m`, `1Gi`, `1e3`; their canonical form and their value.

/// A quantity that was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    canonical: String,
    /// Thousandths, rounded up; saturates.
    milli: i128,
}

impl Quantity {
    /// # Errors
    /// The text of the API's refusal when it is no quantity.
    pub fn parse(text: &str) -> Result<Self, String> {
        let _ = text;
        todo!()
    }

    /// The canonical form (`1000m` is `1`).
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// In thousandths, rounded up.
    #[must_use]
    pub fn milli(&self) -> i128 {
        self.milli
    }

    /// In whole units, rounded up.
    #[must_use]
    pub fn value(&self) -> i128 {
        self.milli.div_euclid(1000) + i128::from(self.milli.rem_euclid(1000) != 0)
    }
}
