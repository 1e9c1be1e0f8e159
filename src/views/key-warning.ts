import { z } from 'zod';
import { KEY_WARNINGS, type KeyWarning } from '../merchants/key-guard/key-guard.ts';
import { EXAMPLE } from './examples.ts';
import { timestamp } from './fields.ts';

export const EXAMPLE_WARNING = `kwn_${EXAMPLE.apiKeyId.slice(4)}`;

export const keyWarningShape = z
  .strictObject({
    warning_id: z.string(),
    kind: z.enum(KEY_WARNINGS).meta({
      description:
        '`unstable_key`: the key holds the time. `near_duplicate`: within a minute before, an entry was written that is the same but for its key.',
    }),
    customer_id: z.string().nullable(),
    idempotency_key: z.string().nullable(),
    other_key: z.string().nullable().meta({ description: 'Of a near duplicate: the key of the entry before.' }),
    is_refused: z.boolean(),
    key_id: z.string().meta({ description: 'The API key of the request.' }),
    created_at: timestamp,
  })
  .meta({
    id: 'KeyWarning',
    examples: [
      {
        ...{ warning_id: EXAMPLE_WARNING, kind: 'unstable_key', customer_id: EXAMPLE.customerId },
        ...{ idempotency_key: 'topup-1769860800123', other_key: null, is_refused: false },
        ...{ key_id: EXAMPLE.apiKeyId, created_at: EXAMPLE.time },
      },
    ],
  });

export function keyWarningResponse(one: KeyWarning): z.output<typeof keyWarningShape> {
  return {
    ...{ warning_id: one.warningId, kind: one.kind, customer_id: one.customerId },
    ...{ idempotency_key: one.idempotencyKey, other_key: one.otherKey, is_refused: one.isRefused },
    ...{ key_id: one.apiKeyId, created_at: one.createdAt.toISOString() },
  };
}
