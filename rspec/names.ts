// The fixed names of RSpec version 3 and of our extension to it.

export const rspecNs = 'http://www.geni.net/resources/rspec/3'
/** Never to be changed: stored requests name it. */
export const violinNs = 'urn:geni-violin:rspec:ext:checkpoint:1'
export const opstateNs = 'http://www.geni.net/resources/rspec/ext/opstate/1'
export const userNs = 'http://www.geni.net/resources/rspec/ext/user/1'
export const xsiNs = 'http://www.w3.org/2001/XMLSchema-instance'

/** Names under which a request may ask for one of our virtual machines; all mean the same. */
export const sliverTypes = ['violin-vm', 'default-vm'] as const
/** What a request without <sliver_type> gets. */
export const defaultSliverType = 'default-vm'

export const actions = [
  'violin_snapshot', 'violin_suspend', 'violin_resume', 'violin_rollback', 'violin_list', 'violin_delete', 'violin_set_policy',
  'violin_events', 'violin_console',
] as const
