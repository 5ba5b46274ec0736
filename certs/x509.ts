// @peculiar/x509 needs reflect-metadata before its own first line runs; everybody takes it from here, so that the order
// is right in one place.
import 'reflect-metadata'

export * from '@peculiar/x509'
