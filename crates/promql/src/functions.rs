//! The functions: what they are called and what they take.

use crate::ast::ValueType;
use crate::ast::ValueType::{InstantVector as V, RangeVector as M, Scalar as S, String as T};

/// The name, parameters and result of a function.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name.
    pub name: &'static str,
    /// The types of the parameters.
    pub params: &'static [ValueType],
    /// How many of the last parameters may be left out.
    pub optional: usize,
    /// Whether the last parameter may be repeated any number of times, zero included.
    pub variadic: bool,
    /// What it returns.
    pub returns: ValueType,
}

impl Signature {
    /// Returns the type of the argument at `index`.
    #[must_use]
    pub fn param(&self, index: usize) -> Option<ValueType> {
        let last = self.params.len().checked_sub(1)?;
        if self.variadic {
            self.params.get(index.min(last)).copied()
        } else {
            self.params.get(index).copied()
        }
    }

    /// Returns the least number of arguments.
    #[must_use]
    pub fn arguments_min(&self) -> usize {
        self.params.len() - self.optional - usize::from(self.variadic)
    }

    /// Returns the greatest number of arguments; `None` when there is none.
    #[must_use]
    pub fn arguments_max(&self) -> Option<usize> {
        (!self.variadic).then_some(self.params.len())
    }
}

/// Returns the function with this name.
#[must_use]
pub fn signature(name: &str) -> Option<&'static Signature> {
    let index = SIGNATURES.binary_search_by(|signature| signature.name.cmp(name)).ok()?;
    SIGNATURES.get(index)
}

const fn of(name: &'static str, params: &'static [ValueType], returns: ValueType) -> Signature {
    Signature { name, params, optional: 0, variadic: false, returns }
}

const fn optional(name: &'static str, params: &'static [ValueType], optional: usize) -> Signature {
    Signature { name, params, optional, variadic: false, returns: V }
}

const fn variadic(name: &'static str, params: &'static [ValueType]) -> Signature {
    Signature { name, params, optional: 0, variadic: true, returns: V }
}

/// Every function of Prometheus 3.14, the experimental ones included, ascending by name.
static SIGNATURES: [Signature; 89] = [
    of("abs", &[V], V),
    of("absent", &[V], V),
    of("absent_over_time", &[M], V),
    of("acos", &[V], V),
    of("acosh", &[V], V),
    of("asin", &[V], V),
    of("asinh", &[V], V),
    of("atan", &[V], V),
    of("atanh", &[V], V),
    of("avg_over_time", &[M], V),
    of("ceil", &[V], V),
    of("changes", &[M], V),
    of("clamp", &[V, S, S], V),
    of("clamp_max", &[V, S], V),
    of("clamp_min", &[V, S], V),
    of("cos", &[V], V),
    of("cosh", &[V], V),
    of("count_over_time", &[M], V),
    optional("day_of_month", &[V], 1),
    optional("day_of_week", &[V], 1),
    optional("day_of_year", &[V], 1),
    optional("days_in_month", &[V], 1),
    of("deg", &[V], V),
    of("delta", &[M], V),
    of("deriv", &[M], V),
    of("double_exponential_smoothing", &[M, S, S], V),
    of("end", &[], S),
    of("exp", &[V], V),
    of("first_over_time", &[M], V),
    of("floor", &[V], V),
    of("histogram_avg", &[V], V),
    of("histogram_count", &[V], V),
    of("histogram_fraction", &[S, S, V], V),
    of("histogram_quantile", &[S, V], V),
    variadic("histogram_quantiles", &[V, T, S, S]),
    of("histogram_stddev", &[V], V),
    of("histogram_stdvar", &[V], V),
    of("histogram_sum", &[V], V),
    optional("hour", &[V], 1),
    of("idelta", &[M], V),
    of("increase", &[M], V),
    optional("info", &[V, V], 1),
    of("irate", &[M], V),
    variadic("label_join", &[V, T, T, T]),
    of("label_replace", &[V, T, T, T, T], V),
    of("last_over_time", &[M], V),
    of("ln", &[V], V),
    of("log10", &[V], V),
    of("log2", &[V], V),
    of("mad_over_time", &[M], V),
    of("max_of", &[S, S], S),
    of("max_over_time", &[M], V),
    of("min_of", &[S, S], S),
    of("min_over_time", &[M], V),
    optional("minute", &[V], 1),
    optional("month", &[V], 1),
    of("pi", &[], S),
    of("predict_linear", &[M, S], V),
    of("present_over_time", &[M], V),
    of("quantile_over_time", &[S, M], V),
    of("rad", &[V], V),
    of("range", &[], S),
    of("rate", &[M], V),
    of("resets", &[M], V),
    optional("round", &[V, S], 1),
    of("scalar", &[V], S),
    of("sgn", &[V], V),
    of("sin", &[V], V),
    of("sinh", &[V], V),
    of("sort", &[V], V),
    variadic("sort_by_label", &[V, T]),
    variadic("sort_by_label_desc", &[V, T]),
    of("sort_desc", &[V], V),
    of("sqrt", &[V], V),
    of("start", &[], S),
    of("stddev_over_time", &[M], V),
    of("stdvar_over_time", &[M], V),
    of("step", &[], S),
    of("sum_over_time", &[M], V),
    of("tan", &[V], V),
    of("tanh", &[V], V),
    of("time", &[], S),
    of("timestamp", &[V], V),
    of("ts_of_first_over_time", &[M], V),
    of("ts_of_last_over_time", &[M], V),
    of("ts_of_max_over_time", &[M], V),
    of("ts_of_min_over_time", &[M], V),
    of("vector", &[S], V),
    optional("year", &[V], 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_function_is_found() {
        for signature in &SIGNATURES {
            assert_eq!(super::signature(signature.name), Some(signature));
        }
        assert_eq!(signature("holt_winters"), None);
    }

    #[test]
    fn numbers_of_arguments_follow_from_the_parameters() {
        let counts = |name: &str| {
            let signature = signature(name).expect("a function");
            (signature.arguments_min(), signature.arguments_max())
        };
        assert_eq!(counts("rate"), (1, Some(1)));
        assert_eq!(counts("round"), (1, Some(2)));
        assert_eq!(counts("label_join"), (3, None));
        assert_eq!(counts("time"), (0, Some(0)));
    }
}
