package session

// Held is the bytes that the session counts between calls.
func (s *Session) Held() int64 { return s.budget.held() }
