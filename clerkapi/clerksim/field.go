package clerksim

// The fields that filters and orders use. They are nil or empty for a user without a
// value.

func createdAt(u *User) *int64    { return &u.CreatedAt }
func lastActiveAt(u *User) *int64 { return u.LastActiveAt }
func lastSignInAt(u *User) *int64 { return u.LastSignInAt }

func primaryEmail(u *User) *string {
	for i := range u.EmailAddresses {
		if e := &u.EmailAddresses[i]; u.PrimaryEmailAddressID != nil && e.ID == *u.PrimaryEmailAddressID {
			return &e.EmailAddress
		}
	}
	return nil
}

func primaryPhone(u *User) *string {
	for i := range u.PhoneNumbers {
		if p := &u.PhoneNumbers[i]; u.PrimaryPhoneNumberID != nil && p.ID == *u.PrimaryPhoneNumberID {
			return &p.PhoneNumber
		}
	}
	return nil
}

func primaryWallet(u *User) *string {
	for i := range u.Web3Wallets {
		if w := &u.Web3Wallets[i]; u.PrimaryWeb3WalletID != nil && w.ID == *u.PrimaryWeb3WalletID {
			return &w.Web3Wallet
		}
	}
	return nil
}

func emails(u *User) []string {
	var all []string
	for i := range u.EmailAddresses {
		all = append(all, u.EmailAddresses[i].EmailAddress)
	}
	return all
}

func phones(u *User) []string {
	var all []string
	for i := range u.PhoneNumbers {
		all = append(all, u.PhoneNumbers[i].PhoneNumber)
	}
	return all
}

func wallets(u *User) []string {
	var all []string
	for i := range u.Web3Wallets {
		all = append(all, u.Web3Wallets[i].Web3Wallet)
	}
	return all
}

func usernames(u *User) []string { return present(u.Username) }

// names are the first name, the last name, and both.
func names(u *User) []string {
	first, last := deref(u.FirstName), deref(u.LastName)
	return []string{first, last, first + " " + last}
}

func present(p *string) []string {
	if p == nil {
		return nil
	}
	return []string{*p}
}
