import type { Pool } from '../../src/db/pool.ts';

/**
 * Lets a checkout that is open end in two seconds, as if the minutes until then had passed: its end stands with it, with its hold, and in
 * the work lists of both.
 */
export async function endSoon(pool: Pool, checkoutId: string): Promise<true> {
  await pool.query(
    `with passed as (
       update checkout set expires_at = now() + interval '2 seconds'
       where checkout_id = $1 and state = 'open' and prolonged_until is null
       returning merchant_id, customer_id, currency, checkout_id, hold_no, expires_at),
     listed as (
       update checkout_due d set due_at = p.expires_at from passed p
       where (d.merchant_id, d.customer_id, d.checkout_id) = (p.merchant_id, p.customer_id, p.checkout_id)),
     held as (
       update hold h set expires_at = p.expires_at from passed p
       where (h.merchant_id, h.customer_id, h.currency, h.hold_no) = (p.merchant_id, p.customer_id, p.currency, p.hold_no)
       returning h.merchant_id, h.customer_id, h.currency, h.expires_at),
     ends as (
       update wallet w set due_at = least(w.due_at, h.expires_at) from held h
       where (w.merchant_id, w.customer_id, w.currency) = (h.merchant_id, h.customer_id, h.currency)
       returning w.merchant_id, w.customer_id, w.currency, w.due_at)
     insert into wallet_due as d (merchant_id, customer_id, currency, due_at)
     select merchant_id, customer_id, currency, due_at from ends
     on conflict (merchant_id, customer_id, currency) do update set due_at = least(d.due_at, excluded.due_at)`,
    [checkoutId],
  );
  return true;
}
