/** @typedef {import("./reelmesh.js").Amount} Amount */

/**
 * An amount for people. Exact: no floating point is in between.
 * @param {Amount} amount
 * @param {{locale?: string, scales?: Record<string, number>}} [options] scales: digits of currencies that ISO 4217
 *   does not have
 */
export function formatAmount({ currency_code: code, amount_minor: minor }, { locale, scales = {} } = {}) {
  /** @type {Intl.NumberFormatOptions} */
  let options = { style: "currency", currency: code };
  let scale = scales[code];
  try {
    scale ??= new Intl.NumberFormat(locale, options).resolvedOptions().maximumFractionDigits ?? 2;
  } catch {
    scale ??= 0;
  }
  const known = /^[A-Z]{3}$/.test(code);
  options = { ...(known ? options : {}), minimumFractionDigits: scale, maximumFractionDigits: scale };
  const digits = String(Math.abs(minor)).padStart(scale + 1, "0");
  const whole = digits.slice(0, digits.length - scale);
  const decimal = (minor < 0 ? "-" : "") + whole + (scale ? `.${digits.slice(-scale)}` : "");
  const text = new Intl.NumberFormat(locale, options).format(/** @type {any} */ (decimal));
  return known ? text : `${text} ${code}`;
}
