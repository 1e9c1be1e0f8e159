import { describe, expect, it } from 'vitest';
import { webhookSecretProblem } from '../../src/providers/secret-form.ts';
import { PROVIDER_NAMES } from '../../src/providers/shared/names.ts';
import { secretOf } from '../support/admin.ts';

describe('the secret of a webhook', () => {
  it.each(PROVIDER_NAMES)('of %s is taken as its dashboard shows it', (provider) => {
    expect(webhookSecretProblem(provider, secretOf(provider))).toBeNull();
  });

  it.each(PROVIDER_NAMES)('of %s is neither short nor long nor spaced', (provider) => {
    const good = secretOf(provider);
    for (const secret of ['', 'abcde', 'a'.repeat(501), `${good} `, `\t${good}`, `${good}\n`, `${good} ${good}`]) {
      expect(webhookSecretProblem(provider, secret)).toMatch(/^wants /);
    }
  });

  it.each([
    ['dodo', 'whsec_not-base64!', 'whsec_ and base64'],
    ['dodo', 'whsec_', 'whsec_ and base64'],
    ['adyen', 'A'.repeat(31), 'hexadecimal'],
    ['adyen', 'G'.repeat(32), 'hexadecimal'],
    ['adyen', 'A'.repeat(130), 'hexadecimal'],
  ] as const)('of %s is not %s', (provider, secret, wanted) => {
    expect(webhookSecretProblem(provider, secret)).toContain(wanted);
  });

  it.each(PROVIDER_NAMES)('of %s is no placeholder, with which anybody could sign', (provider) => {
    for (const secret of ['<whsec_…>', '‹secret›', '‹secret>', '<secret>', 'whsec_…', `<${secretOf(provider)}>`])
      expect(webhookSecretProblem(provider, secret), secret).toMatch(/^is still the placeholder of \.env\.example/);
  });

  it('is not quoted by what is wrong with it', () => {
    expect(webhookSecretProblem('adyen', 'a-secret-of-mine')).not.toContain('mine');
  });
});
