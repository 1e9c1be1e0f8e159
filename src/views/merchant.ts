import { z } from 'zod';
import { KEY_GUARDS } from '../merchants/key-guard/key-guard.ts';
import type { Merchant } from '../merchants/merchant-store.ts';
import { EXAMPLE } from './examples.ts';
import { timestamp } from './fields.ts';

export const keyGuard = z.enum(KEY_GUARDS, { error: `wants one of ${KEY_GUARDS.join(', ')}` });

export const merchantShape = z
  .strictObject({
    merchant_id: z.string(),
    name: z.string(),
    mode: z.enum(['test', 'live']),
    suspended_at: timestamp.nullable().meta({ description: 'Null unless its keys are refused for now.' }),
    key_guard: keyGuard.meta({
      description:
        'What is done about idempotency keys that hold the time: nothing, a warning, or a refusal (422 `UNSTABLE_KEY`).',
    }),
    created_at: timestamp,
  })
  .meta({
    id: 'Merchant',
    examples: [
      {
        merchant_id: EXAMPLE.merchantId,
        name: 'Example Shop',
        mode: 'live',
        suspended_at: null,
        key_guard: 'flag',
        created_at: EXAMPLE.since,
      },
    ],
  });

/** A merchant as the API shows it. */
export function merchantResponse(one: Merchant): z.output<typeof merchantShape> {
  return {
    merchant_id: one.merchantId,
    name: one.name,
    mode: one.mode,
    suspended_at: one.suspendedAt?.toISOString() ?? null,
    key_guard: one.keyGuard,
    created_at: one.createdAt.toISOString(),
  };
}
