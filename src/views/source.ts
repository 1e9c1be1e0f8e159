import { z } from 'zod';
import { hintOf } from '../crypto/secret-box.ts';
import type { Source } from '../merchants/source.ts';
import type { SourceFinding } from '../merchants/source-findings.ts';
import type { SourceRecord } from '../merchants/source-store.ts';
import {
  CAPTURE_RULES,
  CUSTOMER_LINK_RULES,
  DISPUTE_RULES,
  METADATA_RULES,
  PURPOSES,
  REFUND_POLICIES,
} from '../payments/purpose.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';
import { EXAMPLE } from './examples.ts';
import { timestamp } from './fields.ts';

/** How a source is shown to the operator: all settings, and of each secret only its end. */

const EXAMPLE_SECRET = {
  secret_id: EXAMPLE.secretId,
  purpose: 'webhook',
  hint: '…x4Tz',
  created_at: EXAMPLE.since,
} as const;

const secretShape = z
  .strictObject({
    secret_id: z.string().nullable().meta({ description: 'Null for those of the environment.' }),
    purpose: z.enum(['webhook', 'api', 'charge']).meta({
      description:
        "webhook: verifies the provider's events; several at once while one is rotated. api: reads its API. charge: charges saved payment methods.",
    }),
    hint: z.string().meta({ description: 'How it ends.' }),
    created_at: timestamp.nullable(),
  })
  .meta({ id: 'SourceSecret', examples: [EXAMPLE_SECRET] });

export const sourceShape = z
  .strictObject({
    source_id: z.string(),
    merchant_id: z.string(),
    origin: z.enum(['environment', 'record']).meta({
      description: 'environment: configured by the variables of the service, and changed only there.',
    }),
    provider: z.enum(PROVIDER_NAMES),
    name: z.string(),
    mode: z.enum(['test', 'live']),
    enabled: z.boolean(),
    default_purpose: z.enum(PURPOSES),
    metadata: z.enum(METADATA_RULES),
    refunds: z.enum(REFUND_POLICIES),
    disputes: z.enum(DISPUTE_RULES),
    customer_link_rule: z.enum(CUSTOMER_LINK_RULES),
    capture: z.enum(CAPTURE_RULES),
    webhook_path: z.string().meta({ description: "What the provider's webhooks are sent to, at this service." }),
    accounts: z.array(z.string()).meta({
      description: "The provider's own names of the accounts it answers for, as far as known.",
    }),
    secrets: z.array(secretShape).meta({ description: 'Newest first of each purpose.' }),
    created_at: timestamp.nullable(),
    updated_at: timestamp.nullable(),
  })
  .meta({
    id: 'Source',
    examples: [
      {
        source_id: EXAMPLE.sourceId,
        merchant_id: EXAMPLE.merchantId,
        origin: 'record',
        provider: 'stripe',
        name: 'Stripe, EU shop',
        mode: 'live',
        enabled: true,
        default_purpose: 'topup',
        metadata: 'all',
        refunds: 'auto',
        disputes: 'hold',
        customer_link_rule: 'create',
        capture: 'automatic',
        webhook_path: `/webhooks/stripe/${EXAMPLE.sourceId}`,
        accounts: [],
        secrets: [EXAMPLE_SECRET],
        created_at: EXAMPLE.since,
        updated_at: EXAMPLE.since,
      },
    ],
  });

type SourceResponse = z.output<typeof sourceShape>;

function settings(one: Source | SourceRecord) {
  return {
    source_id: one.sourceId,
    merchant_id: one.merchantId,
    provider: one.provider,
    mode: one.mode,
    enabled: one.enabled,
    default_purpose: one.defaultPurpose,
    metadata: one.metadata,
    refunds: one.refunds,
    disputes: one.disputes,
    customer_link_rule: one.customerLinkRule,
    capture: one.capture,
    webhook_path: `/webhooks/${one.provider}/${one.sourceId}`,
  };
}

/** A stored source as the API shows it, with only the end of each secret. */
export function recordResponse(one: SourceRecord): SourceResponse {
  return {
    ...settings(one),
    origin: 'record',
    name: one.name,
    accounts: [...one.accounts],
    secrets: one.secrets.map((secret) => ({
      secret_id: secret.secretId,
      purpose: secret.purpose,
      hint: secret.hint,
      created_at: secret.createdAt.toISOString(),
    })),
    created_at: one.createdAt.toISOString(),
    updated_at: one.updatedAt.toISOString(),
  };
}

/** A source of the environment, which has no dates and no ids of secrets. */
export function configuredResponse(one: Source, accounts: readonly string[]): SourceResponse {
  const shown = (purpose: 'webhook' | 'api' | 'charge', secret: Source['secrets'][number]) => ({
    secret_id: null,
    purpose,
    hint: hintOf(secret.reveal()),
    created_at: null,
  });
  return {
    ...settings(one),
    origin: 'environment',
    name: 'Environment',
    accounts: [...accounts],
    secrets: [
      ...one.secrets.map((secret) => shown('webhook', secret)),
      ...(one.apiKey === null ? [] : [shown('api', one.apiKey)]),
      ...(one.chargeKey === null ? [] : [shown('charge', one.chargeKey)]),
    ],
    created_at: null,
    updated_at: null,
  };
}

const EXAMPLE_FINDING = {
  source_id: EXAMPLE.sourceId,
  kind: 'shared_account',
  account: 'acct_1Shop',
  secret_id: null,
  other_source_id: 'src_stripe',
} as const;

/** What is to be mended about a source. */
export const findingShape = z
  .strictObject({
    source_id: z.string(),
    kind: z.enum(['shared_account', 'shared_webhook_secret', 'unreadable_secret']).meta({
      description:
        'shared_…: another source has the same account or webhook secret. unreadable_secret: a stored secret cannot be decrypted.',
    }),
    account: z.string().nullable().meta({ description: 'The account that is shared.' }),
    secret_id: z.string().nullable().meta({ description: 'The secret that cannot be decrypted.' }),
    other_source_id: z.string().nullable().meta({ description: "The other source; null if it is another merchant's." }),
  })
  .meta({ id: 'SourceFinding', examples: [EXAMPLE_FINDING] });

export function findingResponse(one: SourceFinding): z.output<typeof findingShape> {
  return {
    source_id: one.sourceId,
    kind: one.kind,
    account: one.account,
    secret_id: one.secretId,
    other_source_id: one.otherSourceId,
  };
}

/** The same in words, with what helps. */
export function findingText({ sourceId, kind, account, secretId, otherSourceId }: SourceFinding): string {
  if (kind === 'unreadable_secret')
    return `${sourceId}: the secret ${secretId} cannot be decrypted. Give back the ENCRYPTION_KEY it was stored with, or replace it.`;
  const other = otherSourceId ?? "another merchant's source";
  const what = kind === 'shared_account' ? `the account ${account}` : 'a webhook secret';
  const adopt =
    otherSourceId === null ? '' : `, and let it adopt the other (npx chokin sources adopt <old> --into <new>)`;
  return `${sourceId}: shares ${what} with ${other}. One account is one source: keep one${adopt}.`;
}
