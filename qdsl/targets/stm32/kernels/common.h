/* What every kernel uses: types, saturation, rounding. */
